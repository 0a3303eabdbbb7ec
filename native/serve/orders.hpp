// What passes between a sender's thread and those who use it: requests and cancellations one way, outcomes the other.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "pipeline/wakeup.hpp"

namespace ironrack::serve {

template <typename Request, typename Outcome>
class Orders {
 public:
  struct Taken {
    std::vector<Request> requests;
    std::vector<std::uint32_t> cancelled;
    /// Nothing comes after these; all that runs is to end.
    bool stopping;
  };

  /// `on_outcome` is called on the sender's thread when there are outcomes to take.
  explicit Orders(std::function<void()> on_outcome) : on_outcome_(std::move(on_outcome)) {}

  // For anybody.

  void request(Request request) {
    order([&] { requests_.push_back(std::move(request)); });
  }

  void cancel(std::uint32_t id) {
    order([&] { cancelled_.push_back(id); });
  }

  void stop() {
    order([&] { stopping_ = true; });
  }

  std::vector<Outcome> take_outcomes() {
    const std::lock_guard lock(mutex_);
    return std::exchange(outcomes_, {});
  }

  // For the sender's thread.

  /// Becomes readable when there are orders to take.
  [[nodiscard]] int fd() const { return wakeup_.fd(); }

  Taken take() {
    wakeup_.clear();
    const std::lock_guard lock(mutex_);
    return {std::exchange(requests_, {}), std::exchange(cancelled_, {}), stopping_};
  }

  void report(Outcome outcome) {
    {
      const std::lock_guard lock(mutex_);
      outcomes_.push_back(std::move(outcome));
    }
    on_outcome_();
  }

 private:
  void order(const auto& write) {
    {
      const std::lock_guard lock(mutex_);
      write();
    }
    wakeup_.wake();
  }

  std::function<void()> on_outcome_;
  pipeline::Wakeup wakeup_;
  std::mutex mutex_;  // of what follows
  std::vector<Request> requests_;
  std::vector<std::uint32_t> cancelled_;
  std::vector<Outcome> outcomes_;
  bool stopping_ = false;
};

}  // namespace ironrack::serve
