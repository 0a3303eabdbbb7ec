#include "serve/file_sender.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>

#include "pipeline/pipe_signal_guard.hpp"

namespace ironrack::serve {
namespace {

using namespace std::chrono_literals;

/// So much of one file before the next one's turn.
constexpr std::uint64_t kTurn = 2u << 20;
/// So much in the caller's thread: a tenth of a millisecond's work, with which the client is busy until the other thread is awake.
constexpr std::uint64_t kAtOnce = 1u << 20;
constexpr std::chrono::milliseconds kLook = 1s;

Fault cancelled() { return {FaultKind::cancelled, "http.aborted", "the answer was cut off", Retry::never, {}}; }

/// While it is on the kernel sends full segments only, across turns too: a fifth more bytes a second on loopback. Off, the rest leaves.
void cork(int socket, bool on) {
  const int value = on ? 1 : 0;
  ::setsockopt(socket, IPPROTO_TCP, TCP_CORK, &value, sizeof value);
}

UniqueFd duplicate(int descriptor) { return UniqueFd(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0)); }

}  // namespace

FileSender::FileSender(std::function<void()> on_outcome) : orders_(std::move(on_outcome)) {
  thread_ = std::thread([this] { work(); });
}

void FileSender::finish() {
  orders_.stop();
  if (thread_.joinable()) thread_.join();
}

std::optional<FileOutcome> FileSender::start(FileRequest request) {
  auto& [id, socket, file, part, patience] = request;
  if (part.is_in_memory(file, kAtOnce)) {
    const auto result = part.send(socket, file, kAtOnce);
    if (!result || part.whole()) return FileOutcome{id, part.sent, result};
  }
  auto job = std::make_unique<Job>(Job{id, duplicate(socket), duplicate(file), part, patience});
  if (!job->socket || !job->file) {
    return FileOutcome{id, part.sent, std::unexpected(system_fault(FaultKind::internal, "http.descriptor", "no descriptor for the answer", errno))};
  }
  orders_.request(std::move(job));
  return std::nullopt;
}

void FileSender::work() {
  const pipeline::PipeSignalGuard no_pipe_signal;
  for (bool going = true; going;) {
    const auto woken = watch_.wait(jobs_.empty() ? std::nullopt : std::optional(kLook));
    now_ = std::chrono::steady_clock::now();
    for (const auto& event : woken.sockets) {
      const auto id = static_cast<std::uint32_t>(event.data.u64);
      const auto found = jobs_.find(id);
      if (found != jobs_.end() && !send(*found->second)) drop(id);
    }
    if (now_ >= next_look_) look_for_stalled();
    if (woken.by_orders) going = take_orders();
  }
}

bool FileSender::take_orders() {
  auto [requests, ended, stopping] = orders_.take();
  if (stopping) {
    for (const auto& [id, job] : jobs_) ended.push_back(id);
    for (const auto& job : requests) ended.push_back(job->id);
  }
  for (auto& job : requests) begin(std::move(job));
  for (const auto id : ended) {
    const auto found = jobs_.find(id);
    if (found == jobs_.end()) continue;
    end(*found->second, std::unexpected(cancelled()));
    drop(id);
  }
  return !stopping || !jobs_.empty();
}

void FileSender::begin(std::unique_ptr<Job> job) {
  const auto id = job->id;
  job->progress = now_;
  cork(job->socket.get(), true);
  // Tried at once: what fits the socket's buffer needs no waiting.
  if (!send(*job)) return;
  if (!watch_.add(job->socket.get(), id, EPOLLOUT)) {
    return end(*job, std::unexpected(system_fault(FaultKind::internal, "http.epoll", "the connection cannot be watched", errno)));
  }
  jobs_.emplace(id, std::move(job));
}

bool FileSender::send(Job& job) {
  const auto before = job.part.sent;
  const auto result = job.part.send(job.socket.get(), job.file.get(), kTurn);
  if (job.part.sent > before) job.progress = now_;
  if (result && !job.part.whole()) return true;
  return end(job, result), false;
}

void FileSender::end(Job& job, Result<void> result) {
  cork(job.socket.get(), false);
  orders_.report({job.id, job.part.sent, std::move(result)});
}

void FileSender::drop(std::uint32_t id) {
  const auto found = jobs_.find(id);
  // By itself it would stay: the connection lives on through its owner's descriptor.
  watch_.remove(found->second->socket.get());
  jobs_.erase(found);
}

void FileSender::look_for_stalled() {
  next_look_ = now_ + kLook;
  std::vector<std::uint32_t> stalled;
  for (const auto& [id, job] : jobs_) {
    if (now_ - job->progress >= job->patience) stalled.push_back(id);
  }
  for (const auto id : stalled) {
    end(*jobs_.at(id), fail(FaultKind::cancelled, "http.stalled", "the client took nothing for too long"));
    drop(id);
  }
}

}  // namespace ironrack::serve
