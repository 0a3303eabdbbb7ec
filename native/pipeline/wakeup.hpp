// Wakes the thread that waits in epoll; many wake-ups between two waits are one.
#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>

#include "bytes/unique_fd.hpp"

namespace ironrack::pipeline {

class Wakeup {
 public:
  Wakeup() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

  void wake() {
    if (pending_.exchange(true, std::memory_order_acq_rel)) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
  }

  /// To be called before looking at what one was woken for.
  void clear() {
    std::uint64_t count;
    [[maybe_unused]] const auto read = ::read(fd_.get(), &count, sizeof count);
    pending_.store(false, std::memory_order_release);
  }

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::atomic<bool> pending_ = false;
};

}  // namespace ironrack::pipeline
