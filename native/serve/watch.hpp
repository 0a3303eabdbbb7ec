// What a sender's thread waits on: the socket of each of its works, by the work's number, and its orders.
#pragma once

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "bytes/unique_fd.hpp"

namespace ironrack::serve {

class Watch {
 public:
  /// `orders` is readable when there are orders.
  explicit Watch(int orders) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{EPOLLIN, {.u64 = kOrders}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, orders, &event);
  }

  /// False with errno.
  bool add(int socket, std::uint32_t id, std::uint32_t events) { return control(EPOLL_CTL_ADD, socket, id, events); }
  void change(int socket, std::uint32_t id, std::uint32_t events) { control(EPOLL_CTL_MOD, socket, id, events); }
  /// For a socket that somebody else holds too: one that is closed needs it not.
  void remove(int socket) { control(EPOLL_CTL_DEL, socket, 0, 0); }

  struct Woken {
    bool by_orders = false;
    /// Those where something happened, until the next wait: `data.u64` is the id.
    std::span<const epoll_event> sockets;
  };

  /// Waits so long at most, without a time for ever.
  Woken wait(std::optional<std::chrono::milliseconds> most) {
    const int ready = ::epoll_wait(epoll_.get(), events_.data(), events_.size(), most ? static_cast<int>(most->count()) : -1);
    const auto end = events_.begin() + std::max(ready, 0);
    const auto kept = std::remove_if(events_.begin(), end, [](const epoll_event& event) { return event.data.u64 == kOrders; });
    return {kept != end, {events_.begin(), kept}};
  }

 private:
  static constexpr std::uint64_t kOrders = UINT64_MAX;

  bool control(int what, int socket, std::uint32_t id, std::uint32_t events) {
    epoll_event event{events, {.u64 = id}};
    return ::epoll_ctl(epoll_.get(), what, socket, &event) == 0;
  }

  UniqueFd epoll_;
  std::array<epoll_event, 64> events_;
};

}  // namespace ironrack::serve
