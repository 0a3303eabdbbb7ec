// Equal buffers: what bounds the memory of a job. As many may be used as allow() says; pages are touched only when a buffer is first used.
// They are huge pages of plain memory, which the kernel sends to any number of targets without copying. A buffer is used
// again only after every target answered the command that sent it: by then nobody needs the pages of the old content.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace ironrack::pipeline {

class BufferPool {
 public:
  /// Room for `count` buffers, none of which may be used yet.
  BufferPool(std::size_t count, std::size_t size) : count_(count), size_(size) {
    void* memory = ::mmap(nullptr, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    ::madvise(memory, count * size, MADV_HUGEPAGE);
    ::madvise(memory, count * size, MADV_DONTFORK);  // a child would make each write a copy
    memory_ = static_cast<std::byte*>(memory);
  }
  ~BufferPool() { ::munmap(memory_, count_ * size_); }
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// That many buffers may be used from now on; never fewer than before.
  void allow(std::size_t count) {
    const std::lock_guard lock(mutex_);
    for (count = std::min(count, count_); allowed_ < count; allowed_++) free_.insert(free_.begin(), memory_ + allowed_ * size_);
    room_.notify_all();
  }

  /// Waits for a buffer, which goes back when nobody holds it any more; null once the pool is closed.
  std::shared_ptr<std::byte> acquire() {
    std::unique_lock lock(mutex_);
    waiting_++;
    if (free_.empty()) room_.wait(lock, [&] { return closed_ || worth_waking(); });
    waiting_--;
    if (closed_) return nullptr;
    auto* buffer = free_.back();
    free_.pop_back();
    return {buffer, [this](std::byte* back) { release(back); }};
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
  }

  [[nodiscard]] bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

  /// True when somebody waits for a buffer.
  [[nodiscard]] bool starved() const {
    const std::lock_guard lock(mutex_);
    return waiting_ > 0 && !worth_waking();
  }

  [[nodiscard]] std::size_t buffer_size() const { return size_; }

 private:
  static constexpr std::size_t kWakingShare = 8;
  static constexpr std::size_t kMostWaking = 8;

  /// Who has to wait does so for several buffers: to be woken for each would cost more than to fill it.
  [[nodiscard]] bool worth_waking() const { return free_.size() >= std::clamp<std::size_t>(allowed_ / kWakingShare, 1, kMostWaking); }

  void release(std::byte* buffer) {
    const std::lock_guard lock(mutex_);
    free_.push_back(buffer);  // the last used is the next used: its lines are still in the cache
    if (waiting_ > 0 && worth_waking()) room_.notify_all();
  }

  std::size_t count_;
  std::size_t size_;
  std::byte* memory_ = nullptr;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::size_t allowed_ = 0;
  std::vector<std::byte*> free_;
  int waiting_ = 0;
  bool closed_ = false;
};

}  // namespace ironrack::pipeline
