#include "pipeline/socket_watch.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kWakeup = UINT64_MAX;

}  // namespace

Result<void> SocketWatch::open(Wakeup& wakeup) {
  wakeup_ = &wakeup;
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return std::unexpected(system_fault(FaultKind::internal, "stream.epoll", "no epoll", errno));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeup}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeup.fd(), &event);
  return {};
}

void SocketWatch::follow(const std::vector<std::unique_ptr<Target>>& targets) {
  registered_.resize(targets.size());
  for (std::size_t i = 0; i < targets.size(); i++) {
    const auto& target = *targets[i];
    const int fd = target.fd();
    if (fd < 0) continue;  // a closed socket left epoll by itself
    auto& known = registered_[i];
    const std::uint32_t events = EPOLLIN | (target.wants_to_write() ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
    const bool fresh = known.socket_number != target.socket_number();
    if (!fresh && known.events == events) continue;
    epoll_event event{.events = events, .data = {.u64 = i}};
    ::epoll_ctl(epoll_.get(), fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    known = {target.socket_number(), events};
  }
}

SocketWatch::Events SocketWatch::wait(const std::vector<std::unique_ptr<Target>>& targets, int timeout_ms) {
  follow(targets);
  std::array<epoll_event, kMostTargets + 1> found;
  const int count = ::epoll_wait(epoll_.get(), found.data(), static_cast<int>(found.size()), timeout_ms);
  Events events;
  for (int i = 0; i < count; i++) {
    const auto& event = found[static_cast<std::size_t>(i)];
    if (event.data.u64 != kWakeup) {
      events.sockets.push_back({static_cast<std::size_t>(event.data.u64), event.events});
      continue;
    }
    wakeup_->clear();
    events.woken = true;
  }
  return events;
}

}  // namespace ironrack::pipeline
