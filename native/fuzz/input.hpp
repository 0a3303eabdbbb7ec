// What fuzzers draw from: a seeded source of numbers that like the edges, noise, and changes to bytes that were valid.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "bytes/endian.hpp"

namespace ironrack::fuzz {

using Bytes = std::vector<std::byte>;

class Input {
 public:
  explicit Input(std::uint32_t seed) : random_(seed) {}

  std::uint32_t below(std::uint32_t bound) { return bound == 0 ? 0 : static_cast<std::uint32_t>(random_() % bound); }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  std::byte byte() { return static_cast<std::byte>(random_()); }
  std::uint64_t number() {
    static constexpr std::uint64_t kEdges[] = {0, 1, 2, 3, 4, 7, 8, 511, 512, 513, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0xffffffffffffffff};
    return one_in(2) ? kEdges[below(std::size(kEdges))] : random_() >> below(64);
  }
  Bytes noise(std::size_t most) {
    Bytes out(below(static_cast<std::uint32_t>(most + 1)));
    for (auto& each : out) each = byte();
    return out;
  }
  void change(Bytes& bytes) {
    for (std::uint32_t i = below(8); i > 0 && !bytes.empty(); i--) {
      const auto at = below(static_cast<std::uint32_t>(bytes.size()));
      switch (below(4)) {
        case 0: bytes[at] = byte(); break;
        case 1: bytes[at] ^= static_cast<std::byte>(1u << below(8)); break;
        case 2:
          if (at + 8 <= bytes.size()) store_be<std::uint64_t>(&bytes[at], number());
          break;
        default: bytes.resize(at); break;
      }
    }
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace ironrack::fuzz
