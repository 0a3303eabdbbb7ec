#include "serve/file_sender.hpp"

#include <sys/epoll.h>
#include <sys/sendfile.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "pipeline/pipe_signal_guard.hpp"

namespace ironrack::serve {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kWakeup = UINT64_MAX;
/// So much of one file before the next one's turn.
constexpr std::uint64_t kTurn = 2u << 20;
constexpr auto kLook = 1s;

Fault cancelled() { return {FaultKind::cancelled, "http.aborted", "the answer was cut off", Retry::never, {}}; }

}  // namespace

FileSender::FileSender(std::function<void()> on_outcome) : orders_(std::move(on_outcome)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  epoll_event event{EPOLLIN, {.u64 = kWakeup}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, orders_.fd(), &event);
  thread_ = std::thread([this] { work(); });
}

void FileSender::finish() {
  orders_.stop();
  if (thread_.joinable()) thread_.join();
}

void FileSender::work() {
  const pipeline::PipeSignalGuard no_pipe_signal;
  std::array<epoll_event, 64> events;
  for (;;) {
    const int wait = jobs_.empty() ? -1 : static_cast<int>(kLook / 1ms);
    const int ready = ::epoll_wait(epoll_.get(), events.data(), events.size(), wait);
    now_ = std::chrono::steady_clock::now();
    bool woken = false;
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u64 == kWakeup) {
        woken = true;
        continue;
      }
      const auto id = static_cast<std::uint32_t>(events[i].data.u64);
      const auto found = jobs_.find(id);
      if (found != jobs_.end() && !send(*found->second)) drop(id);
    }
    if (now_ >= next_look_) look_for_stalled();
    if (woken && !take_orders()) return;
  }
}

bool FileSender::take_orders() {
  auto [requests, ended, stopping] = orders_.take();
  if (stopping) {
    for (const auto& [id, job] : jobs_) ended.push_back(id);
    for (const auto& request : requests) ended.push_back(request.id);
  }
  for (auto& request : requests) begin(std::move(request));
  for (const auto id : ended) {
    const auto found = jobs_.find(id);
    if (found == jobs_.end()) continue;
    end(*found->second, std::unexpected(cancelled()));
    drop(id);
  }
  return !stopping || !jobs_.empty();
}

void FileSender::begin(FileRequest request) {
  const auto id = request.id;
  auto job = std::make_unique<Job>(Job{std::move(request), 0, now_});
  // Tried at once: what fits the socket's buffer needs no waiting.
  if (!send(*job)) return;
  epoll_event event{EPOLLOUT, {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, job->request.socket.get(), &event) != 0) {
    return end(*job, std::unexpected(system_fault(FaultKind::internal, "http.epoll", "the connection cannot be watched", errno)));
  }
  jobs_.emplace(id, std::move(job));
}

bool FileSender::send(Job& job) {
  const auto& [id, socket, file, offset, length, patience] = job.request;
  for (std::uint64_t turn = 0; turn < kTurn && job.sent < length;) {
    auto at = static_cast<off_t>(offset + job.sent);
    const auto sent = ::sendfile(socket.get(), file.get(), &at, static_cast<std::size_t>(std::min(length - job.sent, kTurn - turn)));
    if (sent > 0) {
      job.sent += static_cast<std::uint64_t>(sent);
      turn += static_cast<std::uint64_t>(sent);
      job.progress = now_;
      continue;
    }
    if (sent == 0) return end(job, fail(FaultKind::storage, "file.shrunk", "the file became shorter while it was sent")), false;
    switch (errno) {
      case EINTR: break;
      case EAGAIN: return true;
      case EPIPE:
      case ECONNRESET:
      case ETIMEDOUT: return end(job, fail(FaultKind::cancelled, "http.aborted", "the client went away")), false;
      default: return end(job, std::unexpected(system_fault(FaultKind::storage, "file.unreadable", "the file cannot be sent", errno))), false;
    }
  }
  if (job.sent < length) return true;
  return end(job, {}), false;
}

void FileSender::end(Job& job, Result<void> result) {
  orders_.report({job.request.id, job.sent, std::move(result)});
}

void FileSender::drop(std::uint32_t id) {
  const auto found = jobs_.find(id);
  // By itself it would stay: the connection lives on through its owner's descriptor.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second->request.socket.get(), nullptr);
  jobs_.erase(found);
}

void FileSender::look_for_stalled() {
  next_look_ = now_ + kLook;
  std::vector<std::uint32_t> stalled;
  for (const auto& [id, job] : jobs_) {
    if (now_ - job->progress >= job->request.patience) stalled.push_back(id);
  }
  for (const auto id : stalled) {
    end(*jobs_.at(id), fail(FaultKind::cancelled, "http.stalled", "the client took nothing for too long"));
    drop(id);
  }
}

}  // namespace ironrack::serve
