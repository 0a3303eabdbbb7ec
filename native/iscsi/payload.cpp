#include "iscsi/payload.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "bytes/crc32c.hpp"

namespace ironrack::iscsi {
namespace {

/// Continues `crc` over bytes `begin` to `end` of memory or parts, which lie within one piece.
std::uint32_t over_bytes(std::uint32_t crc, const Payload& payload, std::uint64_t begin, std::uint64_t end) {
  if (payload.memory != nullptr) return crc32c(crc, {payload.memory + begin, end - begin});
  std::array<std::byte, kChecksumPiece> bytes{};
  std::uint64_t part_begin = 0;
  for (const auto& part : payload.parts) {
    const auto part_end = part_begin + part.length;
    if (begin < part_end && begin < end) {
      const auto room = std::span(bytes).first(std::min(end, part_end) - begin);
      [[maybe_unused]] const auto count = ::pread(payload.file, room.data(), room.size(), static_cast<off_t>(part.file_offset + (begin - part_begin)));
      crc = crc32c(crc, room);
      begin += room.size();
    }
    part_begin = part_end;
  }
  return crc;
}

}  // namespace

std::uint32_t data_digest(const Payload& payload, std::uint32_t offset, std::uint32_t length) {
  std::uint64_t at = std::uint64_t{payload.begin} + offset;
  const auto end = at + length;
  if (payload.piece_checksums.empty()) return crc32c(0, {payload.memory + at, length});
  std::uint32_t crc = 0;
  while (at < end) {
    const auto piece = at / kChecksumPiece;
    const auto whole = (end - at) / kChecksumPiece;
    if (at % kChecksumPiece == 0 && whole > 0) {
      const auto pieces = crc32c_of_pieces(payload.piece_checksums.subspan(piece, whole));
      crc = at == std::uint64_t{payload.begin} + offset ? pieces : crc32c_combine(crc, pieces, whole * kChecksumPiece);
      at += whole * kChecksumPiece;
    } else {
      const auto stop = std::min(end, (piece + 1) * kChecksumPiece);
      crc = over_bytes(crc, payload, at, stop);
      at = stop;
    }
  }
  return crc;
}

}  // namespace ironrack::iscsi
