#include "iscsi/discovery.hpp"

#include <poll.h>

#include <chrono>
#include <random>

#include "iscsi/framer.hpp"
#include "iscsi/socket.hpp"

namespace ironrack::iscsi {
namespace {

constexpr std::size_t kMostText = 1 << 20;
constexpr int kMostRedirects = 4;

Fault protocol_fault(const char* message) { return Fault{FaultKind::protocol, "iscsi.discovery-protocol", message, Retry::never, {}}; }

std::vector<std::byte> bytes_of(const LoginSend& message) {
  std::vector<std::byte> out(message.header.begin(), message.header.end());
  out.insert(out.end(), message.data.begin(), message.data.end());
  out.resize((out.size() + 3) & ~std::size_t{3});
  return out;
}

/// A socket that is waited on, and its whole PDUs.
class Conversation {
 public:
  Conversation(Socket socket, std::chrono::steady_clock::time_point until) : socket_(std::move(socket)), until_(until), framer_(Offer{}.max_recv_data_segment_length) {}

  Result<void> send(const LoginSend& message) {
    const auto bytes = bytes_of(message);
    for (std::size_t at = 0; at < bytes.size();) {
      if (auto ready = wait(POLLOUT); !ready) return ready;
      const auto count = socket_.send(ByteSpan(bytes).subspan(at));
      if (!count) return std::unexpected(count.error());
      at += *count;
    }
    return {};
  }

  /// The frame's spans are good until the next call.
  Result<Frame> receive() {
    while (true) {
      auto frame = framer_.next();
      if (!frame) return std::unexpected(std::move(frame.error()));
      if (*frame) return **frame;
      if (auto ready = wait(POLLIN); !ready) return std::unexpected(ready.error());
      const auto count = socket_.receive(framer_.room());
      if (!count) return std::unexpected(count.error());
      framer_.received(*count);
    }
  }

  Result<void> wait(short events) {
    pollfd waited{socket_.fd(), events, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until_ - std::chrono::steady_clock::now()).count();
    if (left <= 0 || ::poll(&waited, 1, static_cast<int>(left)) == 0) return fail(FaultKind::timeout, "iscsi.discovery-timeout", "the portal does not answer", Retry::later);
    return {};
  }

  [[nodiscard]] const Socket& socket() const { return socket_; }

 private:
  Socket socket_;
  std::chrono::steady_clock::time_point until_;
  Framer framer_;
};

Result<std::variant<LoginRedirect, std::vector<DiscoveredTarget>>> ask(const DiscoveryRequest& request, const TargetPortal& portal, std::chrono::steady_clock::time_point until) {
  auto socket = Socket::connect(portal.address, portal.port);
  if (!socket) return std::unexpected(std::move(socket.error()));
  Conversation conversation(std::move(*socket), until);
  if (auto ready = conversation.wait(POLLOUT); !ready) return std::unexpected(ready.error());
  if (auto connected = conversation.socket().connected(); !connected) return std::unexpected(connected.error());

  LoginConfig config;
  config.initiator_name = request.initiator_iqn;
  config.chap = request.chap;
  std::random_device random;
  config.isid[0] = std::byte{0x80};
  for (std::size_t i = 1; i < config.isid.size(); i++) config.isid[i] = static_cast<std::byte>(random());
  if (config.chap && config.chap->target) {
    config.mutual_identifier = static_cast<std::uint8_t>(random());
    for (int i = 0; i < 32; i++) config.mutual_challenge.push_back(static_cast<std::byte>(random()));
  }
  Login login(std::move(config));
  std::optional<SendTargets> exchange;
  std::optional<LoginSend> next = login.start();
  while (next) {
    if (auto sent = conversation.send(*next); !sent) return std::unexpected(sent.error());
    auto frame = conversation.receive();
    if (!frame) return std::unexpected(std::move(frame.error()));
    auto pdu = decode_target_pdu(frame->header);
    if (!pdu) return std::unexpected(std::move(pdu.error()));
    next.reset();
    if (exchange) {
      const auto* response = std::get_if<TextResponse>(&*pdu);
      if (response == nullptr) return std::unexpected(protocol_fault("the portal sends something else than the list that was asked for"));
      auto advanced = exchange->advance(*response, frame->data);
      if (!advanced) return std::unexpected(std::move(advanced.error()));
      next = std::move(*advanced);
      continue;
    }
    const auto* response = std::get_if<LoginResponse>(&*pdu);
    if (response == nullptr) return std::unexpected(protocol_fault("the portal sends something else than a login response during login"));
    auto step = login.advance(*response, frame->data);
    if (!step) return std::unexpected(std::move(step.error()));
    if (auto* more = std::get_if<LoginSend>(&*step)) next = std::move(*more);
    else if (auto* redirect = std::get_if<LoginRedirect>(&*step)) return std::move(*redirect);
    else next = exchange.emplace(std::get<LoginDone>(*step).negotiated).start();
  }
  return exchange->targets();
}

}  // namespace

LoginSend SendTargets::request(const TextKeys& keys, std::uint32_t ttt) {
  LoginSend out;
  out.data = encode_text(keys);
  TextRequest pdu;
  pdu.itt = 1;
  pdu.ttt = ttt;
  pdu.cmd_sn = cmd_sn_;
  pdu.exp_stat_sn = exp_stat_sn_;
  pdu.data_segment_length = static_cast<std::uint32_t>(out.data.size());
  out.header = encode(pdu);
  return out;
}

LoginSend SendTargets::start() { return request(TextKeys{}.set("SendTargets", "All"), kReservedTag); }

Result<std::optional<LoginSend>> SendTargets::advance(const TextResponse& pdu, ByteSpan data) {
  if (pdu.itt != 1) return std::unexpected(protocol_fault("the portal answers another request"));
  exp_stat_sn_ = pdu.window.stat_sn + 1;
  text_.insert(text_.end(), data.begin(), data.end());
  if (text_.size() > kMostText) return std::unexpected(protocol_fault("the portal's list of targets has no end"));
  if (!pdu.final) {
    // RFC 7143 §11.10: an empty request with the target's tag fetches the rest.
    if (pdu.ttt == kReservedTag) return std::unexpected(protocol_fault("the portal has more to say and gives no tag to ask for it"));
    if (data.empty()) return std::unexpected(protocol_fault("the portal's list of targets has no end"));
    return request({}, pdu.ttt);
  }
  auto keys = decode_text(text_);
  if (!keys) return std::unexpected(std::move(keys.error()));
  if (auto read_all = read(*keys); !read_all) return std::unexpected(std::move(read_all.error()));
  return std::nullopt;
}

Result<void> SendTargets::read(const TextKeys& keys) {
  for (const auto& [key, value] : keys.pairs()) {
    if (key == "TargetName") {
      targets_.push_back({value, {}});
    } else if (key == "TargetAddress") {
      if (targets_.empty()) return std::unexpected(protocol_fault("the portal gives an address before any target"));
      auto address = parse_target_address(value);
      if (!address) return std::unexpected(std::move(address.error()));
      targets_.back().portals.push_back({std::move(address->address), address->port});
    }
  }
  return {};
}

Result<std::vector<DiscoveredTarget>> discover(const DiscoveryRequest& request) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(request.timeout_ms);
  TargetPortal portal{request.address, request.port};
  for (int hop = 0; hop <= kMostRedirects; hop++) {
    auto answer = ask(request, portal, until);
    if (!answer) return std::unexpected(std::move(answer.error()));
    if (auto* found = std::get_if<std::vector<DiscoveredTarget>>(&*answer)) return std::move(*found);
    const auto& redirect = std::get<LoginRedirect>(*answer);
    portal = {redirect.address, redirect.port};
  }
  return fail(FaultKind::protocol, "iscsi.redirect-loop", "the portal redirects again and again");
}

}  // namespace ironrack::iscsi
