// Lays an image on the carousel, pass by pass, on a thread of its own; with the buffers and decoders which that takes.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <thread>

#include "pipeline/buffer_pool.hpp"
#include "pipeline/carousel.hpp"
#include "pipeline/decode_pool.hpp"
#include "pipeline/planner.hpp"
#include "pipeline/streamed_image.hpp"

namespace ironrack::pipeline {

/// What a target may have on the way, by how many there are: it pins that much of the buffers.
std::size_t window_bytes(std::size_t targets);

class BlockSupply {
 public:
  /// All of them outlive it. `virtual_size` is set once it is known, before the last block is laid out; `wakeup` is woken when there is
  /// something new. `checksums`: somebody needs them of all data.
  BlockSupply(const StreamedImage& image, std::atomic<std::uint64_t>& virtual_size, bool checksums, Wakeup& wakeup);
  /// Ends the pass and the threads; blocks that others hold stay. Waits for bytes that have not arrived must have been stopped.
  ~BlockSupply();

  Carousel& carousel() { return carousel_; }
  [[nodiscard]] std::uint64_t position() const { return planner_->position(); }

  /// Room for the windows of so many targets; it never becomes less.
  void allow(std::size_t targets);
  /// Lays out everything of `wanted`, after the pass before it.
  void begin_pass(const IntervalSet& wanted);
  /// Once a pass has ended.
  [[nodiscard]] const std::optional<Fault>& fault() const { return fault_; }
  /// Nothing more is laid out before blocks are released.
  [[nodiscard]] bool starved() const { return carousel_.state().blocked || pool_->starved(); }

 private:
  std::size_t spare_bytes_;  // of buffers beside the targets' windows
  std::unique_ptr<BufferPool> pool_;
  Carousel carousel_;
  std::unique_ptr<DecodePool> decoders_;  // null where the planner unpacks
  std::unique_ptr<Planner> planner_;
  std::optional<Fault> fault_;
  std::thread planning_;
};

}  // namespace ironrack::pipeline
