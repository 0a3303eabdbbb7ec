// Reads a file from end to end on a thread of its own and compares its digest with the expected one.
#pragma once

#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>

#include "pipeline/request.hpp"
#include "pipeline/wakeup.hpp"

namespace ironrack::pipeline {

class FileChecksum {
 public:
  /// Starts to read; `wakeup` is woken at the end.
  FileChecksum(int file, std::uint64_t size, Checksum expected, Wakeup& wakeup);
  ~FileChecksum();

  [[nodiscard]] bool over() const { return over_.load(std::memory_order_acquire); }
  /// Once over: nothing when the file is what it should be.
  [[nodiscard]] const std::optional<Fault>& fault() const { return fault_; }
  [[nodiscard]] std::uint64_t position() const { return position_.load(std::memory_order_relaxed); }

 private:
  void work();

  int file_;
  std::uint64_t size_;
  Checksum expected_;
  Wakeup& wakeup_;
  std::stop_source stop_;
  std::atomic<bool> over_ = false;
  std::atomic<std::uint64_t> position_ = 0;
  std::optional<Fault> fault_;
  std::thread thread_;
};

}  // namespace ironrack::pipeline
