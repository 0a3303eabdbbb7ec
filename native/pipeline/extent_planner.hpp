// Walks the image and lays its blocks on the carousel: holes as runs, stored bytes as file ranges, the rest for the decoders.
#pragma once

#include <atomic>

#include "image/source.hpp"
#include "pipeline/buffer_pool.hpp"
#include "pipeline/decode_pool.hpp"
#include "pipeline/planner.hpp"

namespace ironrack::pipeline {

class ExtentPlanner final : public Planner {
 public:
  struct Parts {
    image::Source& source;
    Carousel& carousel;
    BufferPool& pool;
    DecodePool& decoders;
    bool checksums;  // somebody needs them of all data
  };

  explicit ExtentPlanner(Parts parts);

  Result<void> run_pass(const IntervalSet& wanted) override;
  [[nodiscard]] std::uint64_t position() const override { return position_.load(std::memory_order_relaxed); }

 private:
  Result<image::Extent> extent_at(std::uint64_t offset);
  /// The block that begins at `offset`.
  Result<BlockRef> next_block(std::uint64_t offset);

  Parts parts_;
  std::uint64_t size_;
  std::uint64_t block_bytes_;
  image::Extent current_;
  std::atomic<std::uint64_t> position_ = 0;
};

/// Bytes of the buffers that a source needs.
std::size_t block_bytes(const image::Source& source);

}  // namespace ironrack::pipeline
