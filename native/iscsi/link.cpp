#include "iscsi/link.hpp"

#include <array>

namespace ironrack::iscsi {
namespace {

constexpr int kTurns = 32;  // of receiving, before others get their turn

}  // namespace

Result<std::unique_ptr<Link>> Link::open(const std::string& address, std::uint16_t port, std::uint16_t lun, LoginConfig config) {
  auto socket = Socket::connect(address, port);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return std::unique_ptr<Link>(new Link(std::move(*socket), lun, std::move(config)));
}

Link::Link(Socket socket, std::uint16_t lun, LoginConfig config)
    : socket_(std::move(socket)), lun_(lun), framer_(config.offer.max_recv_data_segment_length), login_(std::in_place, std::move(config)) {}

Link::~Link() {
  if (!in_order_) socket_.drop_unsent();
}

void Link::queue(const LoginSend& message) {
  output_.insert(output_.end(), message.header.begin(), message.header.end());
  output_.insert(output_.end(), message.data.begin(), message.data.end());
  output_.resize((output_.size() + 3) & ~std::size_t{3});
}

Result<void> Link::on_writable(std::uint64_t) {
  if (phase_ == Phase::connecting) {
    if (auto connected = socket_.connected(); !connected) return connected;
    phase_ = Phase::login;
    queue(login_->start());
  }
  send_blocked_ = false;
  return {};
}

Result<bool> Link::receive(std::uint64_t now_ms) {
  for (int turn = 0; turn < kTurns; turn++) {
    const auto room = framer_.room();
    const auto count = socket_.receive(room);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) return false;
    framer_.received(*count);
    while (true) {
      auto frame = framer_.next();
      if (!frame) return std::unexpected(std::move(frame.error()));
      if (!*frame) break;
      if (auto handled = on_frame(**frame, now_ms); !handled) return std::unexpected(std::move(handled.error()));
    }
    if (*count < room.size()) return false;
  }
  return true;
}

Result<void> Link::on_frame(const Frame& frame, std::uint64_t now_ms) {
  if (session_) return session_->receive(frame, now_ms);
  auto pdu = decode_target_pdu(frame.header);
  if (!pdu) return std::unexpected(std::move(pdu.error()));
  const auto* response = std::get_if<LoginResponse>(&*pdu);
  if (response == nullptr) return fail(FaultKind::protocol, "iscsi.login-protocol", "the target sends something else than a login response during login");
  auto step = login_->advance(*response, frame.data);
  if (!step) return std::unexpected(std::move(step.error()));
  if (const auto* more = std::get_if<LoginSend>(&*step)) {
    queue(*more);
    return {};
  }
  if (auto* redirect = std::get_if<LoginRedirect>(&*step)) {
    redirect_ = std::move(*redirect);
    return fail(FaultKind::unreachable, "iscsi.redirected", "the target lives elsewhere", Retry::later);
  }
  const auto& negotiated = std::get<LoginDone>(*step).negotiated;
  framer_.use_digests(negotiated.header_digest, negotiated.data_digest);
  session_.emplace(negotiated, lun_, now_ms);
  login_.reset();
  phase_ = Phase::full_feature;
  return {};
}

Result<void> Link::flush() {
  while (!send_blocked_ && !output_.empty()) {
    const auto count = socket_.send(output_);
    if (!count) return std::unexpected(count.error());
    send_blocked_ = *count == 0;
    output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(*count));
  }
  std::array<Segment, Socket::kMostSegments> segments;
  while (!send_blocked_) {
    const auto passed_on = socket_.pass_on();
    if (!passed_on) return std::unexpected(passed_on.error());
    send_blocked_ = !*passed_on;
    if (send_blocked_ || !session_ || !session_->has_output()) break;
    const auto burst = session_->next_burst(segments);
    const auto count = socket_.send(std::span(segments).first(burst.count), burst.more);
    if (!count) return std::unexpected(count.error());
    send_blocked_ = *count == 0;
    session_->sent(*count);
  }
  if (!send_blocked_) socket_.uncork();
  return {};
}

}  // namespace ironrack::iscsi
