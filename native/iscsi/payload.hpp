// Bytes that a command sends: in memory, or still in a file so that the kernel can send them without a copy.
#pragma once

#include <cstdint>
#include <span>

#include "bytes/endian.hpp"

namespace ironrack::iscsi {

struct FilePart {
  std::uint64_t file_offset = 0;
  std::uint32_t length = 0;
};

/// A view; its owner keeps the bytes until the command's completion has been taken.
struct Payload {
  const std::byte* memory = nullptr;
  int file = -1;                    // of the parts
  std::span<const FilePart> parts;  // consecutive; used when memory is null
  std::uint32_t begin = 0;          // where in memory or parts this command's bytes begin
  std::uint32_t length = 0;
  std::span<const std::uint32_t> piece_checksums;  // CRC32C of each kChecksumPiece of memory or parts, from their first byte on; may be missing where there is memory
};

/// CRC32C of `length` bytes of the command's, from `offset` on. Bytes that neither lie in memory nor fill whole pieces are
/// read from the file; when that fails so does sending them, and the digest does not matter.
std::uint32_t data_digest(const Payload& payload, std::uint32_t offset, std::uint32_t length);

}  // namespace ironrack::iscsi
