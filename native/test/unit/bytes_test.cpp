#include <numeric>
#include <random>
#include <vector>

#include "bytes/byte_reader.hpp"
#include "bytes/crc32c.hpp"
#include "bytes/hasher.hpp"
#include "bytes/interval_set.hpp"
#include "test/check.hpp"

using namespace ironrack;

namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> out;
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
  return out;
}

}  // namespace

RULE("CRC32C agrees with the examples of RFC 7143 appendix A.4 (as RFC 3720 B.4)") {
  std::vector<std::byte> bytes(32);
  CHECK(crc32c(0, bytes) == 0x8a9136aa);
  std::ranges::fill(bytes, std::byte{0xff});
  CHECK(crc32c(0, bytes) == 0x62a8ab43);
  for (std::size_t i = 0; i < 32; i++) bytes[i] = static_cast<std::byte>(i);
  CHECK(crc32c(0, bytes) == 0x46dd794e);
  for (std::size_t i = 0; i < 32; i++) bytes[i] = static_cast<std::byte>(31 - i);
  CHECK(crc32c(0, bytes) == 0x113fdb5c);
}

RULE("CRC32C by instruction, by table and combined from parts are the same at every length") {
  std::mt19937 random(7);
  std::vector<std::byte> bytes(40000);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  for (std::size_t length : {0u, 1u, 7u, 8u, 9u, 511u, 6143u, 6144u, 6145u, 12289u, 40000u}) {
    const auto part = ByteSpan(bytes).first(length);
    CHECK(crc32c(0, part) == crc32c_by_table(0, part));
    const auto cut = length / 3;
    CHECK(crc32c_combine(crc32c(0, part.first(cut)), crc32c(0, part.subspan(cut)), length - cut) == crc32c(0, part));
    CHECK(crc32c(crc32c(0, part.first(cut)), part.subspan(cut)) == crc32c(0, part));
  }
}

RULE("digests agree with their published examples") {
  const auto of = [](const char* algorithm) {
    auto hasher = Hasher::create(algorithm);
    hasher->update(bytes_of("abc"));
    return to_hex(hasher->finish());
  };
  CHECK(of("md5") == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(of("sha1") == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(of("sha256") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(of("sha3-256") == "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
  CHECK(!Hasher::create("crc7"));
}

RULE("a byte reader yields zeroes behind the end and remembers that it was short") {
  const auto bytes = bytes_of("\x01\x02\x03");
  ByteReader reader(bytes);
  CHECK(reader.u16() == 0x0102);
  CHECK(reader.complete());
  CHECK(reader.u32() == 0);
  CHECK(!reader.complete());
  CHECK(reader.u8() == 0);
  CHECK(reader.remaining() == 0);
}

RULE("an interval set agrees with a set of single bytes, whatever the order of additions (seed printed on failure)") {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 200; round++) {
    IntervalSet set;
    std::vector<bool> model(64);
    for (int i = 0; i < 12; i++) {
      const auto begin = random() % 64;
      const auto end = begin + random() % (65 - begin);
      set.add(begin, end);
      for (auto at = begin; at < end; at++) model[at] = true;
    }
    bool same = true;
    for (std::uint64_t begin = 0; begin < 64; begin++) {
      for (std::uint64_t end = begin + 1; end <= 64; end += 7) {
        bool all = true;
        for (auto at = begin; at < end; at++) all = all && model[at];
        same = same && set.contains(begin, end) == all;
      }
      const auto gap = set.first_gap(begin, 64);
      std::uint64_t expected = begin;
      while (expected < 64 && model[expected]) expected++;
      std::uint64_t expected_end = expected;
      while (expected_end < 64 && !model[expected_end]) expected_end++;
      same = same && gap.begin == expected && gap.end == expected_end;
    }
    same = same && set.total() == static_cast<std::uint64_t>(std::accumulate(model.begin(), model.end(), 0));
    if (!same) std::printf("  seed %u\n", seed);
    CHECK(same);
    IntervalSet everything = set.gaps(0, 64);
    everything.add(set);
    CHECK(everything.contains(0, 64) && everything.size() == 1);
  }
}
