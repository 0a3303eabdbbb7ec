#include "fuzz/convertible.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "bytes/crc32c.hpp"
#include "fuzz/memory_file.hpp"
#include "image/convertible.hpp"

namespace ironrack::fuzz {
namespace {

using namespace std::string_view_literals;

template <std::unsigned_integral T>
void put(Bytes& bytes, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof value; i++) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

void put(Bytes& bytes, std::size_t at, std::string_view text) { std::memcpy(&bytes[at], text.data(), text.size()); }

/// Now and then another number than the one that would be right.
template <std::unsigned_integral T>
T odd(Input& input, T right) {
  return input.one_in(12) ? static_cast<T>(input.number()) : right;
}

/// `file_bytes` may be more than there are: the rest is a hole.
void check(Input& input, Bytes& bytes, std::string_view format, std::uint64_t file_bytes) {
  if (input.one_in(3)) input.change(bytes);
  const auto fd = memory_file(bytes);
  if (file_bytes > bytes.size() && ::ftruncate(fd.get(), static_cast<off_t>(file_bytes)) != 0) std::abort();
  const auto found = image::check_convertible({.fd = fd.get(), .size = std::max<std::uint64_t>(file_bytes, bytes.size()), .arrival = {}, .stop = {}}, format);
  if (found && (found->virtual_size == 0 || found->data_bytes > found->virtual_size)) std::abort();
}

}  // namespace

void fuzz_vmdk(Input& input) {
  static constexpr std::string_view kWords[] = {"createType=\"monolithicSparse\"\n"sv, "createType=\"streamOptimized\"\n"sv, "createType=\"monolithicFlat\"\n"sv, "parentFileNameHint=\"/etc/passwd\"\n"sv, "RW 63 FLAT \"/etc/shadow\" 0\n"sv, "\0"sv};
  Bytes bytes(64 << 10);
  const bool streamed = input.one_in(2);
  const auto header = [&](std::size_t at, std::uint64_t directory) {
    put(bytes, at, "KDMV"sv);
    put<std::uint32_t>(bytes, at + 4, odd<std::uint32_t>(input, 1 + input.below(3)));
    put<std::uint32_t>(bytes, at + 8, odd<std::uint32_t>(input, streamed ? 0x30001 : 3 + 4 * input.below(2)));
    put<std::uint64_t>(bytes, at + 12, odd<std::uint64_t>(input, 1000000));
    put<std::uint64_t>(bytes, at + 20, odd<std::uint64_t>(input, 128));
    put<std::uint64_t>(bytes, at + 28, odd<std::uint64_t>(input, 1));
    put<std::uint64_t>(bytes, at + 36, odd<std::uint64_t>(input, 20));
    put<std::uint32_t>(bytes, at + 44, odd<std::uint32_t>(input, 512));
    put<std::uint64_t>(bytes, at + 56, odd<std::uint64_t>(input, directory));
    put<std::uint16_t>(bytes, at + 77, odd<std::uint16_t>(input, streamed ? 1 : 0));
  };
  header(0, streamed ? ~std::uint64_t{0} : 21);
  std::size_t at = 512;
  for (std::uint32_t i = 1 + input.below(3); i > 0; i--) {
    const auto word = kWords[input.one_in(2) ? 0 : input.below(std::size(kWords))];
    put(bytes, at, word);
    at += word.size();
  }
  for (std::size_t i = 0; i < 16; i++) put<std::uint32_t>(bytes, 21 * 512 + 4 * i, odd<std::uint32_t>(input, input.below(3) == 0 ? 0 : 22 + input.below(60)));
  for (std::size_t i = 0; i < 512; i++) put<std::uint32_t>(bytes, 22 * 512 + 4 * i, odd<std::uint32_t>(input, input.below(100)));
  put<std::uint32_t>(bytes, bytes.size() - 1536 + 12, odd<std::uint32_t>(input, 3));
  if (streamed) header(bytes.size() - 1024, 21);
  check(input, bytes, "vmdk", streamed ? 0 : std::uint64_t{1} << (16 + input.below(12)));
}

void fuzz_vhdx(Input& input) {
  static constexpr unsigned char kGuids[][16] = {
      {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}, {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e},
      {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}, {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8},
      {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}, {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}};
  Bytes bytes(448 << 10);
  const auto guid = [&](std::size_t at, std::size_t which) { std::memcpy(&bytes[at], kGuids[input.one_in(20) ? input.below(std::size(kGuids)) : which], 16); };
  const auto seal = [&](std::size_t at, std::size_t length) {
    put<std::uint32_t>(bytes, at + 4, 0);
    put<std::uint32_t>(bytes, at + 4, odd<std::uint32_t>(input, crc32c(0, ByteSpan(bytes).subspan(at, length))));
  };
  put(bytes, 0, "vhdxfile"sv);
  for (const std::size_t at : {64 << 10, 128 << 10}) {
    put(bytes, at, "head"sv);
    put<std::uint64_t>(bytes, at + 8, input.below(4));
    if (input.one_in(12)) bytes[at + 48] = input.byte();
    put<std::uint16_t>(bytes, at + 66, odd<std::uint16_t>(input, 1));
    seal(at, 4096);
  }
  constexpr std::size_t kRegions = 192 << 10;
  constexpr std::size_t kItems = 320 << 10;
  constexpr std::size_t kTable = 384 << 10;
  put(bytes, kRegions, "regi"sv);
  put<std::uint32_t>(bytes, kRegions + 8, odd<std::uint32_t>(input, 2));
  for (const std::size_t i : {0, 1}) {
    const auto at = kRegions + 16 + 32 * i;
    guid(at, i);
    put<std::uint64_t>(bytes, at + 16, odd<std::uint64_t>(input, i == 0 ? kTable : kItems));
    put<std::uint32_t>(bytes, at + 24, odd<std::uint32_t>(input, 65536));
    put<std::uint32_t>(bytes, at + 28, input.below(2));
  }
  seal(kRegions, 65536);
  put(bytes, kItems, "metadata"sv);
  put<std::uint16_t>(bytes, kItems + 10, odd<std::uint16_t>(input, input.one_in(20) ? 4 : 3));
  for (const std::size_t i : {0, 1, 2, 3}) {
    const auto at = kItems + 32 + 32 * i;
    guid(at, 2 + i);
    put<std::uint32_t>(bytes, at + 16, odd<std::uint32_t>(input, static_cast<std::uint32_t>(4096 + 8 * i)));
  }
  put<std::uint32_t>(bytes, kItems + 4096, odd<std::uint32_t>(input, std::uint32_t{1} << (20 + input.below(9))));
  put<std::uint32_t>(bytes, kItems + 4100, input.one_in(15) ? 2 : 0);
  put<std::uint64_t>(bytes, kItems + 4104, odd<std::uint64_t>(input, std::uint64_t{1} << (20 + input.below(14))));
  put<std::uint32_t>(bytes, kItems + 4112, odd<std::uint32_t>(input, 512 << (3 * input.below(2))));
  for (std::size_t i = 0; i < 1024; i++) put<std::uint64_t>(bytes, kTable + 8 * i, odd<std::uint64_t>(input, input.below(64) << 20 | (input.one_in(3) ? 0 : 6)));
  check(input, bytes, "vhdx", std::uint64_t{1} << (19 + input.below(20)));
}

void fuzz_vdi(Input& input) {
  Bytes bytes(16 << 10);
  put<std::uint32_t>(bytes, 0x40, 0xbeda107f);
  put<std::uint32_t>(bytes, 0x44, odd<std::uint32_t>(input, 0x00010001));
  put<std::uint32_t>(bytes, 0x4c, odd<std::uint32_t>(input, 1 + input.below(2)));
  put<std::uint32_t>(bytes, 0x154, odd<std::uint32_t>(input, 512));
  put<std::uint32_t>(bytes, 0x158, odd<std::uint32_t>(input, 1 << 20));
  put<std::uint32_t>(bytes, 0x168, odd<std::uint32_t>(input, 512));
  put<std::uint64_t>(bytes, 0x170, odd<std::uint64_t>(input, std::uint64_t{1 + input.below(1000)} << 20));
  put<std::uint32_t>(bytes, 0x178, odd<std::uint32_t>(input, 1 << 20));
  put<std::uint32_t>(bytes, 0x180, odd<std::uint32_t>(input, 1000));
  if (input.one_in(10)) bytes[0x1a8 + input.below(32)] = input.byte();
  for (std::size_t at = 512; at + 4 <= bytes.size(); at += 4) put<std::uint32_t>(bytes, at, odd<std::uint32_t>(input, input.one_in(2) ? 0xffffffff : input.below(30)));
  check(input, bytes, "vdi", std::uint64_t{1} << (14 + input.below(14)));
}

}  // namespace ironrack::fuzz
