#include "pipeline/decode_pool.hpp"

#include <algorithm>

#include "bytes/crc32c.hpp"

namespace ironrack::pipeline {

DecodePool::DecodePool(unsigned workers, std::uint32_t unit, int file, bool checksums, Carousel& carousel)
    : unit_(unit), file_(file), checksums_(checksums), carousel_(carousel) {
  for (unsigned i = 0; i < workers; i++) threads_.emplace_back([this] { work(); });
}

DecodePool::~DecodePool() {
  close();
  for (auto& thread : threads_) thread.join();
}

void DecodePool::submit(BlockRef block) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(block));
  some_.notify_one();
}

void DecodePool::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  queue_.clear();
  some_.notify_all();
}

void DecodePool::work() {
  image::Decoder decoder;
  while (true) {
    BlockRef block;
    {
      std::unique_lock lock(mutex_);
      some_.wait(lock, [&] { return closed_ || !queue_.empty(); });
      if (closed_) return;
      block = std::move(queue_.front());
      queue_.pop_front();
    }
    const std::span<std::byte> room(block->memory, block->pool->buffer_size());
    auto state = BlockState::ready;
    for (const auto& extent : block->extents) {
      const auto out = room.subspan(extent.offset - block->offset, extent.length);
      if (auto decoded = decoder.decode(extent, file_, unit_, out); !decoded) {
        block->fault = std::move(decoded.error());
        state = BlockState::failed;
        break;
      }
    }
    if (state == BlockState::ready) {
      const auto padding = static_cast<std::size_t>(-block->length % kAlignment);
      std::ranges::fill(room.subspan(block->length, padding), std::byte{0});
      if (checksums_) block->checksum = crc32c(0, room.first(block->length));
    }
    block->state.store(state, std::memory_order_release);
    block.reset();
    carousel_.notify();
  }
}

}  // namespace ironrack::pipeline
