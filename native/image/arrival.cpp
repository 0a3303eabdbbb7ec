#include "image/arrival.hpp"

#include <algorithm>

namespace ironrack::image {

void Arrival::advance(std::uint64_t mark) {
  {
    const std::lock_guard lock(mutex_);
    if (mark <= mark_) return;
    mark_ = mark;
  }
  changed_.notify_all();
}

void Arrival::complete() {
  {
    const std::lock_guard lock(mutex_);
    if (fault_) return;
    mark_ = size_;
    complete_ = true;
  }
  changed_.notify_all();
}

void Arrival::fail(Fault fault) {
  {
    const std::lock_guard lock(mutex_);
    if (complete_ || fault_) return;
    fault_ = std::move(fault);
  }
  changed_.notify_all();
}

std::uint64_t Arrival::mark() const {
  const std::lock_guard lock(mutex_);
  return mark_;
}

bool Arrival::over() const {
  const std::lock_guard lock(mutex_);
  return complete_ || fault_.has_value();
}

std::optional<Fault> Arrival::fault() const {
  const std::lock_guard lock(mutex_);
  return fault_;
}

Result<std::uint64_t> Arrival::wait_for(std::uint64_t end, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto enough = [&] { return fault_.has_value() || mark_ >= std::min(end, size_); };
  if (!changed_.wait(lock, stop, enough)) return ironrack::fail(FaultKind::cancelled, "stream.cancelled", "the stream was cancelled");
  if (fault_) return std::unexpected(*fault_);
  return mark_;
}

}  // namespace ironrack::image
