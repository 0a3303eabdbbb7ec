// The blocks that all targets draw from: a bounded window over the passes of the planner. A target that falls behind the
// window has missed blocks and gets them in a later pass, so that no target waits for a slower one.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "pipeline/block.hpp"
#include "pipeline/wakeup.hpp"

namespace ironrack::pipeline {

class Carousel {
 public:
  Carousel(std::size_t most_blocks, Wakeup& wakeup) : most_blocks_(most_blocks), wakeup_(wakeup) {}

  /// Waits for room and adds a block behind the others; false once closed.
  bool push(BlockRef block) {
    const bool ready = block->state.load(std::memory_order_relaxed) != BlockState::pending;  // else whoever fills it will tell
    {
      std::unique_lock lock(mutex_);
      blocked_ = blocks_.size() >= most_blocks_;
      room_.wait(lock, [&] { return closed_ || blocks_.size() < most_blocks_; });
      blocked_ = false;
      if (closed_) return false;
      blocks_.push_back(std::move(block));
    }
    if (ready) notify();
    return true;
  }

  /// The planner has pushed all of its pass.
  void end_pass() {
    {
      const std::lock_guard lock(mutex_);
      pass_ended_ = true;
    }
    wakeup_.wake();
  }

  void begin_pass() {
    const std::lock_guard lock(mutex_);
    pass_ended_ = false;
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
  }

  /// Tells the sending thread that there may be something new for it, if it asked to be told.
  void notify() {
    if (wanted_.exchange(false, std::memory_order_acq_rel)) wakeup_.wake();
  }
  void want_notice() { wanted_.store(true, std::memory_order_release); }

  /// The block with that number; null when it is not there yet. A number that is gone becomes the first one still there.
  BlockRef at(std::uint64_t& number) const {
    const std::lock_guard lock(mutex_);
    if (number < first_) number = first_;
    const auto index = number - first_;
    return index < blocks_.size() ? blocks_[index] : nullptr;
  }

  /// Drops the blocks before `number`.
  void release_before(std::uint64_t number) {
    std::deque<BlockRef> gone;  // freed outside the lock
    {
      const std::lock_guard lock(mutex_);
      while (first_ < number && !blocks_.empty()) {
        gone.push_back(std::move(blocks_.front()));
        blocks_.pop_front();
        first_++;
      }
      if (!gone.empty()) room_.notify_one();
    }
  }

  struct State {
    std::uint64_t first = 0;
    std::uint64_t end = 0;   // one behind the last block
    bool blocked = false;    // the planner waits for room
    bool pass_ended = false;
  };
  [[nodiscard]] State state() const {
    const std::lock_guard lock(mutex_);
    return {first_, first_ + blocks_.size(), blocked_, pass_ended_};
  }

 private:
  std::size_t most_blocks_;
  Wakeup& wakeup_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::deque<BlockRef> blocks_;
  std::uint64_t first_ = 0;
  bool blocked_ = false;
  bool pass_ended_ = true;
  bool closed_ = false;
  std::atomic<bool> wanted_ = false;
};

}  // namespace ironrack::pipeline
