#include "pipeline/block.hpp"

#include <algorithm>

#include "bytes/crc32c.hpp"

namespace ironrack::pipeline {

Block::~Block() {
  for (const auto& [address, length] : mappings_) ::munmap(address, length);
}

bool Block::map() {
  if (mapped) return true;
  for (auto& part : parts) {
    const auto skew = part.file_offset % kAlignment;
    const auto length = static_cast<std::size_t>(part.length + skew);
    void* address = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file, static_cast<off_t>(part.file_offset - skew));
    if (address == MAP_FAILED) return false;  // it goes out by sendfile then
    mappings_.push_back({address, length});
    part.mapped = static_cast<const std::byte*>(address) + skew;
  }
  mapped = true;
  return true;
}

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
