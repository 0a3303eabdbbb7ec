// Worker threads that fill memory blocks, and take the checksums of these and of file blocks where they are asked for.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "image/decoder.hpp"
#include "pipeline/carousel.hpp"

namespace ironrack::pipeline {

class DecodePool {
 public:
  DecodePool(unsigned workers, std::uint32_t unit, int file, bool checksums, Carousel& carousel);
  ~DecodePool();

  /// Never waits: there are no more blocks than buffers.
  void submit(BlockRef block);
  void close();

 private:
  void work();
  Result<void> fill(const Block& block, image::Decoder& decoder) const;
  Result<void> sum(Block& block, std::span<std::byte> scratch) const;

  std::uint32_t unit_;
  int file_;
  bool checksums_;
  Carousel& carousel_;
  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<BlockRef> queue_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

/// Takes the checksums of a memory block that is filled.
void sum_memory(Block& block);

}  // namespace ironrack::pipeline
