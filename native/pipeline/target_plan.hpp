// What all targets of a job share.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "image/packed.hpp"
#include "pipeline/carousel.hpp"
#include "pipeline/request.hpp"

namespace ironrack::pipeline {

struct TargetPlan {
  std::atomic<std::uint64_t> virtual_size = 0;  // kUnknownSize while only decoding can tell; then known before the last block is there
  HolePolicy policy = HolePolicy::write_zeroes;
  Verify verify = Verify::none;
  std::size_t window_bytes = 0;  // of data that a target may have on the way
  std::uint64_t command_ms = 0;  // for one command of a target that does answer pings
  std::string image;             // for checkpoints: which image, and how its holes are written
  Carousel* carousel = nullptr;
  const std::vector<Record>* records = nullptr;  // of all data blocks laid out so far, not always in order

  /// 0 while only decoding can tell.
  [[nodiscard]] std::uint64_t known_size() const {
    const auto size = virtual_size.load(std::memory_order_acquire);
    return size == image::kUnknownSize ? 0 : size;
  }
};

}  // namespace ironrack::pipeline
