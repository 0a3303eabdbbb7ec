// CRC32C (Castagnoli), the digest of RFC 7143 §13.1, and the checksum of read-back.
#pragma once

#include "bytes/endian.hpp"

namespace ironrack {

/// Continues `crc` (0 to begin) over the bytes; uses the processor's instruction where there is one.
std::uint32_t crc32c(std::uint32_t crc, ByteSpan bytes);

/// The CRC of A followed by B, from crc(A), crc(B) and the length of B.
std::uint32_t crc32c_combine(std::uint32_t first, std::uint32_t second, std::uint64_t second_length);

/// Checksums of data are kept for pieces of this size, so that any run of whole pieces has its CRC without a look at the bytes.
inline constexpr std::size_t kChecksumPiece = 4096;

/// The CRC of consecutive pieces, from theirs.
std::uint32_t crc32c_of_pieces(std::span<const std::uint32_t> pieces);

/// The same by table, for tests and for processors without the instruction.
std::uint32_t crc32c_by_table(std::uint32_t crc, ByteSpan bytes);

}  // namespace ironrack
