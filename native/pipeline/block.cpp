#include "pipeline/block.hpp"

#include <algorithm>

#include "bytes/crc32c.hpp"

namespace ironrack::pipeline {

std::optional<std::uint32_t> Block::checksum_of(std::uint64_t begin, std::uint32_t count) const {
  auto at = begin - offset;
  if (kind == BlockKind::memory) return crc32c(0, {memory.get() + at, count});
  std::vector<std::byte> bytes(count);
  std::span<std::byte> room(bytes);
  for (const auto& part : parts) {
    if (at >= part.length) {
      at -= part.length;
      continue;
    }
    const auto piece = std::min<std::uint64_t>(room.size(), part.length - at);
    if (!image::read_at(file, part.file_offset + at, room.first(piece))) return std::nullopt;
    room = room.subspan(piece);
    at = 0;
    if (room.empty()) return crc32c(0, bytes);
  }
  return std::nullopt;
}

}  // namespace ironrack::pipeline
