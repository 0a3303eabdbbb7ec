// How far a file that is still being written may be read: between the one who writes it and any number who read.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

#include "bytes/fault.hpp"

namespace ironrack::image {

class Arrival {
 public:
  /// `size` is that of the whole file.
  explicit Arrival(std::uint64_t size) : size_(size) {}

  /// All bytes before `mark` are there and stay as they are. Marks only rise.
  void advance(std::uint64_t mark);
  /// All bytes are there, and they are the right ones.
  void complete();
  /// There will be no more, or what is there is not the image.
  void fail(Fault fault);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t mark() const;
  /// Complete or failed.
  [[nodiscard]] bool over() const;
  [[nodiscard]] std::optional<Fault> fault() const;

  /// Waits until all bytes before `end` are there; answers the mark. A fault when they will not come, or when `stop` is asked for.
  Result<std::uint64_t> wait_for(std::uint64_t end, const std::stop_token& stop);

 private:
  const std::uint64_t size_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t mark_ = 0;
  bool complete_ = false;
  std::optional<Fault> fault_;
};

}  // namespace ironrack::image
