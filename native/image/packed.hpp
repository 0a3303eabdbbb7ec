// A raw disk image under compression: what is known of it before it is decoded, and the places where decoding can begin.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "image/unpacker.hpp"

namespace ironrack::image {

inline constexpr std::uint64_t kUnknownSize = std::numeric_limits<std::uint64_t>::max();

/// Begins and ends at a multiple of kSegmentAlignment of the disk; the last one ends with the disk.
struct Segment {
  std::uint64_t disk_offset = 0;
  std::uint64_t disk_length = kUnknownSize;  // unknown: of the only one
  std::uint64_t file_offset = 0;
  std::uint64_t file_length = 0;
};

inline constexpr std::uint64_t kSegmentAlignment = 4096;

class PackedImage {
 public:
  virtual ~PackedImage() = default;

  [[nodiscard]] virtual std::string_view format() const = 0;
  /// In the order of the disk, without gaps.
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  /// kUnknownSize when only decoding tells.
  [[nodiscard]] std::uint64_t virtual_size() const { return segments_.empty() ? 0 : segments_.back().disk_length == kUnknownSize ? kUnknownSize : segments_.back().disk_offset + segments_.back().disk_length; }
  /// Bytes that an unpacker keeps.
  [[nodiscard]] virtual std::uint64_t unpacker_bytes() const = 0;
  /// From any thread. Where the segment's length is known, an unpacker that yields more or less ends with a fault.
  [[nodiscard]] virtual Result<std::unique_ptr<Unpacker>> unpack(const Segment& segment) const = 0;

 protected:
  /// Adds a part of the file that can be decoded by itself: as a segment, or to the last one while that is small or ends askew.
  void add_part(std::uint64_t disk_length, std::uint64_t file_offset, std::uint64_t file_length);

  std::vector<Segment> segments_;
};

Result<std::unique_ptr<PackedImage>> open_gzip(const ImageFile& file);
Result<std::unique_ptr<PackedImage>> open_zstd(const ImageFile& file);
Result<std::unique_ptr<PackedImage>> open_xz(const ImageFile& file);
Result<std::unique_ptr<PackedImage>> open_bzip2(const ImageFile& file);

/// True for "gzip", "zstd", "xz" and "bzip2".
bool is_packed(std::string_view format);

/// Opens the image as `format`; content of another format is refused, and so is a stream that holds anything else
/// than a raw disk. Waits for bytes that have not arrived as far as it takes: of xz for all, because the index is at the end.
Result<std::unique_ptr<PackedImage>> open_packed(const ImageFile& file, std::string_view format);

}  // namespace ironrack::image
