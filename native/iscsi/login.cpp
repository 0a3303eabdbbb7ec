#include "iscsi/login.hpp"

#include <algorithm>

#include "bytes/hasher.hpp"

namespace ironrack::iscsi {
namespace {

constexpr int kMostExchanges = 32;
constexpr std::size_t kMostText = 65536;
constexpr std::uint32_t kFirstCmdSn = 1;
constexpr std::uint32_t kLoginTag = 0;

struct StatusRow {
  std::uint16_t status;
  FaultKind kind;
  Retry retry;
  const char* code;
  const char* message;
};

// RFC 7143 §11.13.5
constexpr StatusRow kStatuses[] = {
    {0x0200, FaultKind::protocol, Retry::never, "iscsi.login-initiator-error", "the target calls our login wrong"},
    {0x0201, FaultKind::refused, Retry::never, "iscsi.authentication-failed", "the target refuses the CHAP credentials"},
    {0x0202, FaultKind::refused, Retry::never, "iscsi.not-authorized", "the target does not admit this initiator"},
    {0x0203, FaultKind::not_found, Retry::later, "iscsi.target-not-found", "there is no target of that name"},
    {0x0204, FaultKind::not_found, Retry::never, "iscsi.target-removed", "the target was removed"},
    {0x0205, FaultKind::unsupported, Retry::never, "iscsi.version-unsupported", "the target speaks no version of ours"},
    {0x0206, FaultKind::busy, Retry::later, "iscsi.too-many-connections", "the target has too many connections"},
    {0x0207, FaultKind::protocol, Retry::never, "iscsi.missing-parameter", "the target misses a parameter in our login"},
    {0x0209, FaultKind::unsupported, Retry::never, "iscsi.session-type-unsupported", "the target has no session of that type"},
    {0x020b, FaultKind::protocol, Retry::never, "iscsi.invalid-during-login", "the target saw a request that is not allowed during login"},
    {0x0300, FaultKind::refused, Retry::later, "iscsi.target-error", "the target has a hardware or software error"},
    {0x0301, FaultKind::busy, Retry::later, "iscsi.service-unavailable", "the target's service is not available"},
    {0x0302, FaultKind::busy, Retry::later, "iscsi.out-of-resources", "the target is out of resources"},
};

Fault login_fault(std::uint8_t status_class, std::uint8_t status_detail) {
  const auto status = static_cast<std::uint16_t>(status_class << 8 | status_detail);
  for (const auto& row : kStatuses) {
    if (row.status == status) return Fault{row.kind, row.code, row.message, row.retry, {}}.with("login_status", std::uint64_t{status});
  }
  return Fault{FaultKind::refused, "iscsi.login-refused", "the target refuses the login", status_class == 3 ? Retry::later : Retry::never, {}}.with("login_status", std::uint64_t{status});
}

Fault protocol_fault(std::string message) { return Fault{FaultKind::protocol, "iscsi.login-protocol", std::move(message), Retry::never, {}}; }

std::string as_binary(ByteSpan bytes) { return "0x" + to_hex(bytes); }

}  // namespace

LoginSend Login::send(const TextKeys& keys, bool transit, Stage next) {
  LoginSend out;
  out.data = encode_text(keys);
  LoginRequest pdu;
  pdu.transit = transit;
  pdu.current = stage_;
  pdu.next = next;
  pdu.isid = config_.isid;
  pdu.itt = kLoginTag;
  pdu.cmd_sn = kFirstCmdSn;
  pdu.exp_stat_sn = exp_stat_sn_;
  pdu.data_segment_length = static_cast<std::uint32_t>(out.data.size());
  out.header = encode(pdu);
  return out;
}

LoginSend Login::start() {
  TextKeys keys;
  keys.set("InitiatorName", config_.initiator_name);
  if (config_.target_name.empty()) {
    keys.set("SessionType", "Discovery");
  } else {
    keys.set("SessionType", "Normal").set("TargetName", config_.target_name);
  }
  if (!config_.chap) {
    keys.set("AuthMethod", "None");
    return send(keys, true, Stage::operational);
  }
  // One-way CHAP proves us to the target; a target that asks for no proof may go without. Mutual CHAP is for us, so there it is not waived.
  keys.set("AuthMethod", config_.chap->target ? "CHAP" : "CHAP,None");
  return send(keys, false, Stage::security);
}

Result<LoginStep> Login::advance(const LoginResponse& pdu, ByteSpan data) {
  if (++exchanges_ > kMostExchanges) return std::unexpected(protocol_fault("the login does not come to an end"));
  if (pdu.status_class != 0 && pdu.status_class != 1) return std::unexpected(login_fault(pdu.status_class, pdu.status_detail));
  if (pdu.itt != kLoginTag || pdu.isid != config_.isid) return std::unexpected(protocol_fault("the login response belongs to another login"));
  exp_stat_sn_ = pdu.window.stat_sn + 1;

  pending_text_.insert(pending_text_.end(), data.begin(), data.end());
  if (pending_text_.size() > kMostText) return std::unexpected(protocol_fault("the login text is too long"));
  if (pdu.cont) {
    if (pdu.transit) return std::unexpected(protocol_fault("a login response both continues and ends its stage"));
    return LoginStep{send({}, false, stage_)};
  }
  const auto text = std::exchange(pending_text_, {});
  auto keys = decode_text(text);
  if (!keys) return std::unexpected(std::move(keys.error()));

  if (pdu.status_class == 1) {
    const auto* address = keys->find("TargetAddress");
    if (address == nullptr) return std::unexpected(protocol_fault("the target redirects without an address"));
    auto redirect = parse_target_address(*address);
    if (!redirect) return std::unexpected(std::move(redirect.error()));
    return LoginStep{std::move(*redirect)};
  }
  if (pdu.version_active != 0) return std::unexpected(login_fault(2, 5));
  if (pdu.current != stage_) return std::unexpected(protocol_fault("the login response is of another stage"));
  negotiated_.tsih = pdu.tsih;
  negotiated_.window = pdu.window;
  return stage_ == Stage::security ? advance_security(pdu, *keys) : advance_operational(pdu, *keys);
}

Result<LoginStep> Login::advance_security(const LoginResponse& pdu, const TextKeys& keys) {
  if (pdu.transit) {
    if (pdu.next != Stage::operational && pdu.next != Stage::full_feature) return std::unexpected(protocol_fault("the login moves to no known stage"));
    if (config_.chap && config_.chap->target) {
      if (auto proof = check_target_proof(keys); !proof) return std::unexpected(std::move(proof.error()));
    }
    if (pdu.next == Stage::full_feature) return LoginStep{LoginDone{negotiated_}};
    stage_ = Stage::operational;
    return LoginStep{send(operational_keys(), true, Stage::full_feature)};
  }
  if (!config_.chap) {
    // The stage was not left although nothing was to be proved: some targets want to be asked again.
    return LoginStep{send({}, true, Stage::operational)};
  }
  if (keys.find("CHAP_C") != nullptr) {
    auto answer = answer_challenge(keys);
    if (!answer) return std::unexpected(std::move(answer.error()));
    return LoginStep{send(*answer, true, Stage::operational)};
  }
  if (const auto* method = keys.find("AuthMethod")) {
    if (*method == "CHAP") {
      std::string list;
      for (const auto algorithm : config_.algorithms) list += (list.empty() ? "" : ",") + std::to_string(static_cast<int>(algorithm));
      return LoginStep{send(TextKeys{}.set("CHAP_A", list), false, Stage::security)};
    }
    if (*method == "None" && !config_.chap->target) return LoginStep{send({}, true, Stage::operational)};
    return fail(FaultKind::unsupported, "iscsi.authentication-method", "the target answers AuthMethod=" + *method);
  }
  if (challenged_) return LoginStep{send({}, true, Stage::operational)};
  return std::unexpected(protocol_fault("the target neither chooses an authentication method nor sends a challenge"));
}

Result<TextKeys> Login::answer_challenge(const TextKeys& keys) {
  const auto* chosen = keys.find("CHAP_A");
  const auto* identifier_text = keys.find("CHAP_I");
  const auto* challenge_text = keys.find("CHAP_C");
  if (chosen == nullptr || identifier_text == nullptr) return std::unexpected(protocol_fault("the CHAP challenge lacks its algorithm or identifier"));
  if (challenged_) return std::unexpected(protocol_fault("the target challenges twice"));
  challenged_ = true;
  const auto number = parse_number("CHAP_A", *chosen);
  if (!number) return std::unexpected(number.error());
  const auto offered = std::ranges::find_if(config_.algorithms, [&](auto algorithm) { return static_cast<std::uint64_t>(algorithm) == *number; });
  if (offered == config_.algorithms.end()) return std::unexpected(protocol_fault("the target chose a CHAP algorithm that was not offered"));
  algorithm_ = *offered;
  const auto identifier = parse_number("CHAP_I", *identifier_text);
  if (!identifier) return std::unexpected(identifier.error());
  if (*identifier > 255) return std::unexpected(protocol_fault("CHAP_I does not fit a byte"));
  const auto challenge = parse_binary("CHAP_C", *challenge_text, 1024);
  if (!challenge) return std::unexpected(challenge.error());

  const auto& chap = *config_.chap;
  // RFC 7143 §12.1.3: a target that reflects our own challenge has the secret from us.
  if (chap.target && same_secret(*challenge, config_.mutual_challenge)) return std::unexpected(protocol_fault("the target reflects our CHAP challenge"));
  const auto response = chap_response(*algorithm_, static_cast<std::uint8_t>(*identifier), chap.initiator.secret, *challenge);
  if (!response) return std::unexpected(response.error());
  TextKeys answer;
  answer.set("CHAP_N", chap.initiator.username).set("CHAP_R", as_binary(*response));
  if (chap.target) {
    answer.set("CHAP_I", std::to_string(config_.mutual_identifier)).set("CHAP_C", as_binary(config_.mutual_challenge));
  }
  return answer;
}

Result<void> Login::check_target_proof(const TextKeys& keys) const {
  const auto& peer = *config_.chap->target;
  const Fault refused{FaultKind::refused, "iscsi.target-not-authentic", "the target does not prove that it knows the mutual CHAP secret", Retry::never, {}};
  const auto* name = keys.find("CHAP_N");
  const auto* proof_text = keys.find("CHAP_R");
  if (!algorithm_ || name == nullptr || proof_text == nullptr) return std::unexpected(refused);
  const auto proof = parse_binary("CHAP_R", *proof_text, 64);
  if (!proof) return std::unexpected(refused);
  const auto expected = chap_response(*algorithm_, config_.mutual_identifier, peer.secret, config_.mutual_challenge);
  if (!expected) return std::unexpected(expected.error());
  if (*name != peer.username || !same_secret(*proof, *expected)) return std::unexpected(refused);
  return {};
}

TextKeys Login::operational_keys() const {
  const auto& offer = config_.offer;
  TextKeys keys;
  keys.set("HeaderDigest", offer.header_digest ? "CRC32C,None" : "None").set("DataDigest", offer.data_digest ? "CRC32C,None" : "None");
  keys.set("MaxRecvDataSegmentLength", std::to_string(offer.max_recv_data_segment_length));
  keys.set("DefaultTime2Wait", "0").set("DefaultTime2Retain", "0").set("ErrorRecoveryLevel", "0");
  if (config_.target_name.empty()) return keys;  // the rest is irrelevant in a discovery session, RFC 7143 §13
  keys.set("InitialR2T", offer.initial_r2t ? "Yes" : "No").set("ImmediateData", offer.immediate_data ? "Yes" : "No");
  keys.set("MaxBurstLength", std::to_string(offer.max_burst_length)).set("FirstBurstLength", std::to_string(offer.first_burst_length));
  keys.set("MaxOutstandingR2T", std::to_string(offer.max_outstanding_r2t)).set("MaxConnections", "1");
  keys.set("DataPDUInOrder", "Yes").set("DataSequenceInOrder", "Yes");
  return keys;
}

Result<TextKeys> Login::settle(const TextKeys& keys) {
  const auto& offer = config_.offer;
  auto& out = negotiated_;
  TextKeys answers;
  for (const auto& [key, value] : keys.pairs()) {
    const auto wrong = [&](const char* what) { return std::unexpected(protocol_fault("the target's " + key + "=" + value + " " + what)); };
    const auto number = [&](std::uint64_t least, std::uint64_t most) -> Result<std::uint32_t> {
      const auto parsed = parse_number(key, value);
      if (!parsed) return std::unexpected(parsed.error());
      if (*parsed < least || *parsed > most) return wrong("is out of range");
      return static_cast<std::uint32_t>(*parsed);
    };
    const auto boolean = [&]() -> Result<bool> {
      if (value == "Yes") return true;
      if (value == "No") return false;
      return wrong("is neither Yes nor No");
    };
    const auto digest = [&](bool wanted) -> Result<bool> {
      if (value == "None") return false;
      if (value == "CRC32C" && wanted) return true;
      return wrong("was not offered");
    };
    if (value == "Irrelevant") continue;
    if (value == "Reject" || value == "NotUnderstood") {
      if (key == "MaxRecvDataSegmentLength") return wrong("leaves the key without a value");
      continue;  // RFC 7143 §6.2.2: the default stays in force; all of ours stand in Negotiated
    }
    if (key == "HeaderDigest") {
      const auto chosen = digest(offer.header_digest);
      if (!chosen) return std::unexpected(chosen.error());
      out.header_digest = *chosen;
    } else if (key == "DataDigest") {
      const auto chosen = digest(offer.data_digest);
      if (!chosen) return std::unexpected(chosen.error());
      out.data_digest = *chosen;
    } else if (key == "MaxRecvDataSegmentLength") {
      const auto length = number(512, 16777215);
      if (!length) return std::unexpected(length.error());
      out.max_recv_data_segment_length = *length;
    } else if (key == "MaxBurstLength") {
      const auto length = number(512, offer.max_burst_length);
      if (!length) return std::unexpected(length.error());
      out.max_burst_length = *length;
    } else if (key == "FirstBurstLength") {
      const auto length = number(512, offer.first_burst_length);
      if (!length) return std::unexpected(length.error());
      out.first_burst_length = *length;
    } else if (key == "MaxOutstandingR2T") {
      const auto count = number(1, offer.max_outstanding_r2t);
      if (!count) return std::unexpected(count.error());
      out.max_outstanding_r2t = static_cast<std::uint16_t>(*count);
    } else if (key == "InitialR2T") {
      const auto yes = boolean();
      if (!yes) return std::unexpected(yes.error());
      if (offer.initial_r2t && !*yes) return wrong("is not a result of OR with our Yes");
      out.initial_r2t = *yes;
    } else if (key == "ImmediateData") {
      const auto yes = boolean();
      if (!yes) return std::unexpected(yes.error());
      if (!offer.immediate_data && *yes) return wrong("is not a result of AND with our No");
      out.immediate_data = *yes;
    } else if (key == "ErrorRecoveryLevel") {
      const auto level = number(0, 0);
      if (!level) return std::unexpected(level.error());
    } else if (key == "DefaultTime2Wait") {
      const auto seconds = number(0, 3600);
      if (!seconds) return std::unexpected(seconds.error());
      out.default_time2wait = static_cast<std::uint16_t>(*seconds);
    } else if (key == "DefaultTime2Retain" || key == "MaxConnections" || key == "DataPDUInOrder" || key == "DataSequenceInOrder" ||
               key == "TargetPortalGroupTag" || key == "TargetAlias" || key == "TargetAddress" || key == "AuthMethod" || key == "iSCSIProtocolLevel") {
      continue;  // declarations, or keys of which every answer suits one connection with everything in order
    } else {
      answers.set(key, "NotUnderstood");
    }
  }
  // RFC 7143 §13.14: FirstBurstLength must not exceed MaxBurstLength.
  out.first_burst_length = std::min(out.first_burst_length, out.max_burst_length);
  return answers;
}

Result<LoginStep> Login::advance_operational(const LoginResponse& pdu, const TextKeys& keys) {
  auto answers = settle(keys);
  if (!answers) return std::unexpected(std::move(answers.error()));
  if (pdu.transit) {
    if (pdu.next != Stage::full_feature) return std::unexpected(protocol_fault("the login moves to no known stage"));
    negotiated_.our_max_recv_data_segment_length = config_.offer.max_recv_data_segment_length;
    negotiated_.cmd_sn = kFirstCmdSn;
    return LoginStep{LoginDone{negotiated_}};
  }
  return LoginStep{send(*answers, true, Stage::full_feature)};
}

Result<LoginRedirect> parse_target_address(std::string_view value) {
  const auto bad = [&] { return fail(FaultKind::malformed, "iscsi.target-address", "TargetAddress=" + std::string(value) + " is not address[:port][,group]"); };
  value = value.substr(0, value.find(','));
  LoginRedirect out;
  std::string_view port;
  if (value.starts_with('[')) {
    const auto close = value.find(']');
    if (close == std::string_view::npos) return bad();
    out.address = value.substr(1, close - 1);
    const auto rest = value.substr(close + 1);
    if (!rest.empty() && !rest.starts_with(':')) return bad();
    port = rest.empty() ? rest : rest.substr(1);
  } else {
    const auto colon = value.rfind(':');
    out.address = value.substr(0, colon);
    if (colon != std::string_view::npos) port = value.substr(colon + 1);
  }
  if (out.address.empty()) return bad();
  if (!port.empty()) {
    const auto number = parse_number("TargetAddress", port);
    if (!number || *number == 0 || *number > 65535) return bad();
    out.port = static_cast<std::uint16_t>(*number);
  }
  return out;
}

}  // namespace ironrack::iscsi
