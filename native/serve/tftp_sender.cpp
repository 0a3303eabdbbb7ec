#include "serve/tftp_sender.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace ironrack::serve {
namespace {

using namespace std::chrono_literals;

/// Timeouts are whole seconds; they may be so much late.
constexpr std::chrono::milliseconds kLook = 100ms;
/// So many transfers wait for their client's first word. Requests with invented addresses put out each other beyond that, and those who
/// do answer, within the time that so many requests take, are left alone. The service admits twice as many in all.
constexpr std::size_t kMostUnanswered = 128;
/// A client that answers so soon is waited for without sleeping: to fall asleep and be woken takes as long as its answer.
constexpr auto kSoon = 50us;

}  // namespace

TftpSender::TftpSender(std::function<void()> on_outcome) : orders_(std::move(on_outcome)) {
  thread_ = std::thread([this] { work(); });
}

void TftpSender::finish() {
  orders_.stop();
  if (thread_.joinable()) thread_.join();
}

void TftpSender::work() {
  for (bool going = true; going;) {
    const auto woken = watch_.wait(patience());
    now_ = std::chrono::steady_clock::now();
    for (const auto& event : woken.sockets) {
      // Gone when it ended in this same round.
      const auto found = transfers_.find(static_cast<std::uint32_t>(event.data.u64));
      if (found == transfers_.end()) continue;
      auto& transfer = *found->second;
      if ((event.events & EPOLLOUT) != 0) send_due(transfer);
      if ((event.events & (EPOLLIN | EPOLLERR)) != 0 && !transfer.exchange.over()) receive(transfer);
      if (transfer.exchange.over()) transfers_.erase(found);
    }
    if (now_ >= next_look_) look_at_deadlines();
    if (woken.by_orders) going = take_orders();
  }
}

std::optional<std::chrono::milliseconds> TftpSender::patience() const {
  if (now_ < awake_until_) return 0ms;
  if (transfers_.empty()) return std::nullopt;
  return kLook;
}

bool TftpSender::take_orders() {
  auto [requests, cancelled, stopping] = orders_.take();
  if (stopping) {
    for (const auto& [id, transfer] : transfers_) cancelled.push_back(id);
    for (const auto& request : requests) cancelled.push_back(request.id);
  }
  for (auto& request : requests) begin(std::move(request));
  for (const auto id : cancelled) {
    const auto found = transfers_.find(id);
    if (found == transfers_.end()) continue;
    send_error(*found->second, {kNotDefined, "the server stops"});
    end(*found->second, TftpResult{TftpEnd::lost, 0, "the server stops"});
    transfers_.erase(found);
  }
  return !stopping || !transfers_.empty();
}

void TftpSender::begin(TftpRequest request) {
  const auto id = request.id;
  auto file = contents(request);
  if (!file) return orders_.report({id, std::unexpected(file.error()), 0});
  UniqueFd socket(::socket(request.local.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // Connected: the kernel keeps the route, takes packets of the client alone, and reports that its port is closed.
  if (!socket || ::bind(socket.get(), request.local.name(), request.local.size) != 0 || ::connect(socket.get(), request.peer.name(), request.peer.size) != 0) {
    return orders_.report({id, std::unexpected(system_fault(FaultKind::unreachable, "tftp.socket", "no socket for the transfer", errno)), 0});
  }
  auto transfer = std::make_unique<Transfer>(Transfer{id, std::move(socket), TftpExchange(request.size, request.terms), std::move(*file), std::move(request.offer), {}, {}, {}});
  if (request.terms.windowsize > 1) transfer->segments = TftpBurst::can_segment(request.terms.blksize);
  if (!watch_.add(transfer->socket.get(), id, EPOLLIN)) {
    return orders_.report({id, std::unexpected(system_fault(FaultKind::internal, "tftp.epoll", "the transfer cannot be watched", errno)), 0});
  }
  auto& running = *transfer;
  transfers_.emplace(id, std::move(transfer));
  carry_out(running, running.exchange.start());
  if (running.exchange.over()) {
    transfers_.erase(id);
    return;
  }
  unanswered_.push_back(id);
  if (unanswered_.size() > kMostUnanswered) make_room();
}

void TftpSender::make_room() {
  std::erase_if(unanswered_, [this](std::uint32_t id) {
    const auto found = transfers_.find(id);
    return found == transfers_.end() || found->second->exchange.answered();
  });
  if (unanswered_.size() <= kMostUnanswered) return;
  const auto oldest = transfers_.find(unanswered_.front());
  unanswered_.pop_front();
  // Without an ERROR: a client that exists asks again.
  end(*oldest->second, TftpResult{TftpEnd::lost, 0, "no answer, and others ask"});
  transfers_.erase(oldest);
}

Result<std::shared_ptr<SentFile>> TftpSender::contents(TftpRequest& request) {
  if (!request.file) return std::make_shared<SentFile>(std::move(request.bytes));
  struct stat status {};
  if (::fstat(request.file.get(), &status) != 0) return std::unexpected(system_fault(FaultKind::storage, "file.unreadable", "the file cannot be read", errno));
  std::erase_if(shared_, [](const Shared& each) { return each.file.expired(); });
  for (const auto& each : shared_) {
    if (each.device != status.st_dev || each.inode != status.st_ino || each.size != request.size) continue;
    if (each.seconds != status.st_mtim.tv_sec || each.nanoseconds != status.st_mtim.tv_nsec) continue;
    if (auto file = each.file.lock()) return file;
  }
  auto file = SentFile::map(std::move(request.file), request.size);
  if (file) shared_.push_back({status.st_dev, status.st_ino, request.size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec, *file});
  return file;
}

void TftpSender::receive(Transfer& transfer) {
  std::array<std::byte, 516> packet;
  const auto length = ::recv(transfer.socket.get(), packet.data(), packet.size(), MSG_DONTWAIT);
  if (several_processors_ && now_ - transfer.sent_at < kSoon) awake_until_ = now_ + kSoon;
  if (length >= 0) return carry_out(transfer, transfer.exchange.receive(ByteSpan(packet.data(), static_cast<std::size_t>(length))));
  if (errno == ECONNREFUSED) carry_out(transfer, transfer.exchange.refused());
}

void TftpSender::carry_out(Transfer& transfer, TftpActions actions) {
  if (actions.offer) ::send(transfer.socket.get(), transfer.offer.data(), transfer.offer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (actions.arm_s) transfer.deadline = now_ + std::chrono::seconds(*actions.arm_s);
  if (actions.count > 0) {
    transfer.due = {actions.first, actions.first + actions.count};
    transfer.sent_at = now_;
    send_due(transfer);
  }
  if (actions.error) send_error(transfer, *actions.error);
  if (actions.done) end(transfer, std::move(*actions.done));
}

void TftpSender::send_due(Transfer& transfer) {
  switch (burst_.send(transfer.socket.get(), transfer.exchange, *transfer.file, transfer.due, transfer.segments)) {
    case BurstEnd::all: return wait_for_room(transfer, false);
    case BurstEnd::blocked: return wait_for_room(transfer, true);
    case BurstEnd::refused: return carry_out(transfer, transfer.exchange.refused());
    case BurstEnd::unreadable:
      send_error(transfer, {kNotDefined, "the file cannot be read"});
      return end(transfer, std::unexpected(transfer.file->unreadable()));
  }
}

void TftpSender::wait_for_room(Transfer& transfer, bool wait) {
  if (transfer.waits_for_room == wait) return;
  transfer.waits_for_room = wait;
  watch_.change(transfer.socket.get(), transfer.id, wait ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/// The caller takes it out of the table, which closes its socket.
void TftpSender::end(Transfer& transfer, Result<TftpResult> result) {
  transfer.exchange.close();
  orders_.report({transfer.id, std::move(result), transfer.exchange.malformed()});
}

void TftpSender::look_at_deadlines() {
  next_look_ = now_ + kLook;
  std::vector<std::uint32_t> ended;
  for (const auto& [id, transfer] : transfers_) {
    if (transfer->deadline > now_) continue;
    carry_out(*transfer, transfer->exchange.timeout());
    if (transfer->exchange.over()) ended.push_back(id);
  }
  for (const auto id : ended) transfers_.erase(id);
}

void TftpSender::send_error(const Transfer& transfer, const TftpError& error) {
  const auto packet = encode_error(error.code, error.message);
  ::send(transfer.socket.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace ironrack::serve
