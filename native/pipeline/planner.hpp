// Walks an image and lays its blocks on the carousel.
#pragma once

#include "bytes/interval_set.hpp"
#include "pipeline/carousel.hpp"

namespace ironrack::pipeline {

class Planner {
 public:
  virtual ~Planner() = default;

  /// Lays out everything of `wanted`, perhaps more, in any order but the same blocks in every pass. Ends early, without a
  /// fault, once the carousel is closed.
  virtual Result<void> run_pass(const IntervalSet& wanted) = 0;

  /// Bytes of the virtual disk laid out so far in the furthest pass.
  [[nodiscard]] virtual std::uint64_t position() const = 0;
};

/// A run of zeroes this long is a hole; shorter ones are sent with their neighbours.
inline constexpr std::uint64_t kLeastZeroRun = 65536;
/// A longer hole is laid out in turns, so that progress is seen.
inline constexpr std::uint64_t kMostZeroRun = 1 << 30;

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) { return value / unit * unit; }
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) { return align_down(value + unit - 1, unit); }

}  // namespace ironrack::pipeline
