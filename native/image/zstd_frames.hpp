// The frames of a zstandard file (RFC 8878 §3.1), found by their headers and block headers without decoding anything.
#pragma once

#include <optional>
#include <vector>

#include "image/image_file.hpp"

namespace ironrack::image {

struct ZstdFrame {
  std::uint64_t file_offset = 0;
  std::uint64_t file_length = 0;
  std::optional<std::uint64_t> content_size;  // 0 for skippable frames
  std::uint64_t window = 0;                   // bytes that a decoder has to keep
};

/// The frame that begins at `offset`; a file that ends within it, or has something else there, is a fault.
Result<ZstdFrame> find_zstd_frame(const ImageFile& file, std::uint64_t offset);

}  // namespace ironrack::image
