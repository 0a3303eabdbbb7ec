// An image as a sequence of extents, and where the bytes of each are.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <optional>
#include <span>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"
#include "bytes/unique_fd.hpp"

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
  /// The extent that begins at `offset` < virtual_size(). Calls with rising offsets are cheap. Not for several threads.
  virtual Result<Extent> extent_at(std::uint64_t offset) = 0;
  [[nodiscard]] virtual int file() const = 0;
};

/// What the file was when it was opened; a stream from a file that changes meanwhile is no copy of anything.
struct FileIdentity {
  std::uint64_t size = 0;
  std::int64_t modified_s = 0;
  std::int64_t modified_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

struct OpenedFile {
  UniqueFd fd;
  FileIdentity identity;
};

/// Opens a regular file or block device for reading.
Result<OpenedFile> open_file(const std::string& path);
Result<FileIdentity> identify(int fd);

/// Reads exactly `out.size()` bytes; fewer is a malformed fault, an I/O error a storage fault.
Result<void> read_at(int fd, std::uint64_t offset, std::span<std::byte> out);

/// Opens the image in `fd` as `format` ("raw" or "qcow2"); content of another format is refused. `fd` outlives the source.
Result<std::unique_ptr<Source>> open_source(int fd, std::uint64_t file_size, std::string_view format);

Result<std::unique_ptr<Source>> open_raw(int fd, std::uint64_t file_size);
Result<std::unique_ptr<Source>> open_qcow2(int fd, std::uint64_t file_size);

}  // namespace ironrack::image
