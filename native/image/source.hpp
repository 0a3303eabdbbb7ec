// An image as a sequence of extents, and where the bytes of each are.
#pragma once

#include <memory>
#include <string_view>

#include "bytes/fault.hpp"
#include "image/image_file.hpp"

namespace ironrack::image {

enum class ExtentKind : std::uint8_t {
  zero,     // reads as zeroes
  file,     // lies in the file as it is
  deflate,  // one cluster, raw deflate (RFC 1951)
  zstd,     // one cluster, zstandard frames
};

struct Extent {
  std::uint64_t offset = 0;  // in the virtual disk
  std::uint64_t length = 0;
  ExtentKind kind = ExtentKind::zero;
  std::uint64_t file_offset = 0;
  std::uint32_t file_length = 0;  // of compressed clusters: bytes in the file, perhaps with padding behind
};

class Source {
 public:
  virtual ~Source() = default;

  [[nodiscard]] virtual std::string_view format() const = 0;
  /// Bytes of the disk that the image holds.
  [[nodiscard]] virtual std::uint64_t virtual_size() const = 0;
  /// The largest extent that can only be decoded as a whole; a power of two, 0 when everything lies in the file as it is.
  [[nodiscard]] virtual std::uint32_t decode_unit() const = 0;
  /// The extent that begins at `offset` < virtual_size(), once its bytes are in the file. Calls with rising offsets are cheap.
  /// Not for several threads.
  virtual Result<Extent> extent_at(std::uint64_t offset) = 0;
  [[nodiscard]] virtual int file() const = 0;
};

/// Refuses a file whose content is not of that format.
Result<void> check_format(const ImageFile& file, std::string_view format);

/// Opens the image as `format` ("raw" or "qcow2"); content of another format is refused.
Result<std::unique_ptr<Source>> open_source(const ImageFile& file, std::string_view format);

Result<std::unique_ptr<Source>> open_raw(const ImageFile& file);
Result<std::unique_ptr<Source>> open_qcow2(const ImageFile& file);

}  // namespace ironrack::image
