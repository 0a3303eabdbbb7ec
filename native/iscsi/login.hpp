// The login phase of RFC 7143 §6 as a machine without sockets: text in, text out, until the operational keys stand.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "iscsi/chap.hpp"
#include "iscsi/pdu.hpp"
#include "iscsi/text.hpp"

namespace ironrack::iscsi {

struct ChapPeer {
  std::string username;
  std::string secret;
};

struct ChapCredentials {
  ChapPeer initiator;            // whom we claim to be
  std::optional<ChapPeer> target;  // who the target must prove to be (mutual CHAP)
};

/// What we would like; the target's answers make it a Negotiated.
struct Offer {
  bool header_digest = false;  // true: CRC32C preferred, None accepted
  bool data_digest = false;
  std::uint32_t max_recv_data_segment_length = 262144;
  std::uint32_t max_burst_length = 16776192;
  std::uint32_t first_burst_length = 262144;
  std::uint16_t max_outstanding_r2t = 8;
  bool initial_r2t = false;
  bool immediate_data = true;
};

struct LoginConfig {
  std::string initiator_name;
  std::string target_name;  // empty: a discovery session
  std::optional<ChapCredentials> chap;
  std::vector<ChapAlgorithm> algorithms{chap_algorithms().begin(), chap_algorithms().end()};
  Offer offer;
  Isid isid{};
  std::uint8_t mutual_identifier = 0;           // random, for mutual CHAP
  std::vector<std::byte> mutual_challenge;      // random, for mutual CHAP
};

/// The operational parameters in force, RFC 7143 §13.
struct Negotiated {
  bool header_digest = false;
  bool data_digest = false;
  std::uint32_t our_max_recv_data_segment_length = 262144;
  std::uint32_t max_recv_data_segment_length = 8192;  // the target's: bounds what we send
  std::uint32_t max_burst_length = 262144;
  std::uint32_t first_burst_length = 65536;
  std::uint16_t max_outstanding_r2t = 1;
  bool initial_r2t = true;
  bool immediate_data = true;
  std::uint16_t default_time2wait = 2;
  std::uint16_t tsih = 0;
  std::uint32_t cmd_sn = 1;
  Window window;
};

struct LoginSend {
  Header header;
  std::vector<std::byte> data;
};

struct LoginDone {
  Negotiated negotiated;
};

/// The target lives elsewhere (login status class 1).
struct LoginRedirect {
  std::string address;
  std::uint16_t port = 3260;
};

using LoginStep = std::variant<LoginSend, LoginDone, LoginRedirect>;

class Login {
 public:
  explicit Login(LoginConfig config) : config_(std::move(config)) {}

  LoginSend start();
  Result<LoginStep> advance(const LoginResponse& pdu, ByteSpan data);

  /// True when the target took up CHAP with an algorithm other than MD5; some targets give those numbers another meaning.
  [[nodiscard]] bool used_newer_algorithm() const { return algorithm_ && *algorithm_ != ChapAlgorithm::md5; }

 private:
  LoginSend send(const TextKeys& keys, bool transit, Stage next);
  Result<LoginStep> advance_security(const LoginResponse& pdu, const TextKeys& keys);
  Result<LoginStep> advance_operational(const LoginResponse& pdu, const TextKeys& keys);
  Result<TextKeys> answer_challenge(const TextKeys& keys);
  Result<void> check_target_proof(const TextKeys& keys) const;
  TextKeys operational_keys() const;
  Result<TextKeys> settle(const TextKeys& keys);

  LoginConfig config_;
  Negotiated negotiated_;
  Stage stage_ = Stage::security;
  std::optional<ChapAlgorithm> algorithm_;
  bool challenged_ = false;
  int exchanges_ = 0;
  std::uint32_t exp_stat_sn_ = 0;
  std::vector<std::byte> pending_text_;
};

/// "address[:port][,group]" of TargetAddress, with brackets around IPv6.
Result<LoginRedirect> parse_target_address(std::string_view value);

}  // namespace ironrack::iscsi
