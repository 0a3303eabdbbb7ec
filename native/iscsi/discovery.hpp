// A discovery session, RFC 7143 §4.3 and appendix C: which targets are behind a portal, and at which addresses.
#pragma once

#include <string>
#include <vector>

#include "iscsi/login.hpp"

namespace ironrack::iscsi {

struct TargetPortal {
  std::string address;
  std::uint16_t port = 3260;
};

struct DiscoveredTarget {
  std::string name;
  std::vector<TargetPortal> portals;  // none: only the one that was asked
};

/// The exchange behind the login as a machine without sockets: requests out, text in, until the list is whole.
class SendTargets {
 public:
  /// What follows the login that ended with `negotiated`.
  explicit SendTargets(const Negotiated& negotiated) : cmd_sn_(negotiated.cmd_sn), exp_stat_sn_(negotiated.window.stat_sn + 1) {}

  LoginSend start();
  /// The next request, or nothing when targets() is whole.
  Result<std::optional<LoginSend>> advance(const TextResponse& pdu, ByteSpan data);
  [[nodiscard]] const std::vector<DiscoveredTarget>& targets() const { return targets_; }

 private:
  LoginSend request(const TextKeys& keys, std::uint32_t ttt);
  Result<void> read(const TextKeys& keys);

  std::uint32_t cmd_sn_;
  std::uint32_t exp_stat_sn_;
  std::vector<std::byte> text_;
  std::vector<DiscoveredTarget> targets_;
};

struct DiscoveryRequest {
  std::string address;
  std::uint16_t port = 3260;
  std::string initiator_iqn;
  std::optional<ChapCredentials> chap;
  std::uint64_t timeout_ms = 10000;
};

/// Asks a portal; blocks until it answered or the time is up.
Result<std::vector<DiscoveredTarget>> discover(const DiscoveryRequest& request);

}  // namespace ironrack::iscsi
