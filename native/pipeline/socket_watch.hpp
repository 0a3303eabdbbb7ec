// What the sending thread waits for: the sockets of all targets, and being woken.
#pragma once

#include <memory>
#include <vector>

#include "pipeline/target.hpp"
#include "pipeline/wakeup.hpp"

namespace ironrack::pipeline {

class SocketWatch {
 public:
  /// Before anything else. `wakeup` outlives it.
  Result<void> open(Wakeup& wakeup);

  struct SocketEvent {
    std::size_t target;
    std::uint32_t events;  // of epoll
  };
  struct Events {
    bool woken = false;
    std::vector<SocketEvent> sockets;
  };
  /// Waits for what the targets want of their sockets, and for the wake-up, which is cleared; at most so long.
  Events wait(const std::vector<std::unique_ptr<Target>>& targets, int timeout_ms);

 private:
  /// A socket as epoll knows it.
  struct Registered {
    std::uint64_t socket_number = 0;
    std::uint32_t events = 0;
  };
  void follow(const std::vector<std::unique_ptr<Target>>& targets);

  UniqueFd epoll_;
  Wakeup* wakeup_ = nullptr;
  std::vector<Registered> registered_;  // of each target
};

}  // namespace ironrack::pipeline
