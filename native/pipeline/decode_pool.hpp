// Worker threads that fill memory blocks.
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

}  // namespace ironrack::pipeline
