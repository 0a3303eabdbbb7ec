#include "bytes/crc32c.hpp"

#include <array>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace ironrack {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // reflected 0x1edc6f41

constexpr auto kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; i++) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ kPolynomial : crc >> 1;
    table[i] = crc;
  }
  return table;
}();

/// a·b modulo the polynomial, both reflected.
constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = b & 1 ? b >> 1 ^ kPolynomial : b >> 1;
  }
  return product;
}

/// x^(8·count) modulo the polynomial: what appending `count` zero bytes multiplies a CRC by.
constexpr std::uint32_t shift_by(std::uint64_t count) {
  std::uint32_t result = 0x80000000u;  // x^0
  std::uint32_t square = 0x00800000u;  // x^8
  for (; count != 0; count >>= 1) {
    if (count & 1) result = multiply(square, result);
    square = multiply(square, square);
  }
  return result;
}

/// Multiplies by x^(8·count) for one count, a byte of the CRC at a time.
using ShiftTable = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr ShiftTable make_shift_table(std::uint64_t count) {
  ShiftTable table{};
  const std::uint32_t factor = shift_by(count);
  for (std::uint32_t lane = 0; lane < 4; lane++) {
    for (std::uint32_t i = 0; i < 256; i++) table[lane][i] = multiply(factor, i << (8 * lane));
  }
  return table;
}

std::uint32_t shift(const ShiftTable& table, std::uint32_t crc) {
  return table[0][crc & 0xff] ^ table[1][crc >> 8 & 0xff] ^ table[2][crc >> 16 & 0xff] ^ table[3][crc >> 24];
}

const ShiftTable kShiftPiece = make_shift_table(kChecksumPiece);

#if defined(__x86_64__)

// The crc32 instruction answers after three cycles but can start every cycle: three streams side by side, joined by
// multiplying with x^(8·stride). Three strides just fit a piece.
constexpr std::size_t kStride = 1360;

const ShiftTable kShiftStride = make_shift_table(kStride);

__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_instruction(std::uint32_t crc, ByteSpan bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t a = ~crc;
  const auto word = [](const std::byte* from) {
    std::uint64_t value;
    __builtin_memcpy(&value, from, 8);
    return value;
  };
  while (left >= 3 * kStride) {
    std::uint64_t b = 0;
    std::uint64_t c = 0;
    for (std::size_t i = 0; i < kStride; i += 8) {
      a = _mm_crc32_u64(a, word(at + i));
      b = _mm_crc32_u64(b, word(at + kStride + i));
      c = _mm_crc32_u64(c, word(at + 2 * kStride + i));
    }
    a = shift(kShiftStride, static_cast<std::uint32_t>(a)) ^ b;
    a = shift(kShiftStride, static_cast<std::uint32_t>(a)) ^ c;
    at += 3 * kStride;
    left -= 3 * kStride;
  }
  for (; left >= 8; left -= 8, at += 8) a = _mm_crc32_u64(a, word(at));
  for (; left > 0; left--, at++) a = _mm_crc32_u8(static_cast<std::uint32_t>(a), static_cast<std::uint8_t>(*at));
  return ~static_cast<std::uint32_t>(a);
}

bool has_instruction() { return __builtin_cpu_supports("sse4.2"); }

#elif defined(__aarch64__)

__attribute__((target("+crc"))) std::uint32_t crc32c_by_instruction(std::uint32_t crc, ByteSpan bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint32_t a = ~crc;
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t value;
    __builtin_memcpy(&value, at, 8);
    a = __crc32cd(a, value);
  }
  for (; left > 0; left--, at++) a = __crc32cb(a, static_cast<std::uint8_t>(*at));
  return ~a;
}

bool has_instruction() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }

#else

std::uint32_t crc32c_by_instruction(std::uint32_t crc, ByteSpan bytes) { return crc32c_by_table(crc, bytes); }
bool has_instruction() { return false; }

#endif

}  // namespace

std::uint32_t crc32c_by_table(std::uint32_t crc, ByteSpan bytes) {
  crc = ~crc;
  for (const auto byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<std::uint32_t>(byte)) & 0xff];
  return ~crc;
}

std::uint32_t crc32c(std::uint32_t crc, ByteSpan bytes) {
  static const bool fast = has_instruction();
  return fast ? crc32c_by_instruction(crc, bytes) : crc32c_by_table(crc, bytes);
}

std::uint32_t crc32c_of_pieces(std::span<const std::uint32_t> pieces) {
  std::uint32_t crc = 0;
  for (const auto piece : pieces) crc = shift(kShiftPiece, crc) ^ piece;
  return crc;
}

std::uint32_t crc32c_combine(std::uint32_t first, std::uint32_t second, std::uint64_t second_length) {
  return multiply(shift_by(second_length), first) ^ second;
}

}  // namespace ironrack
