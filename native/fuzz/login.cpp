#include <cstdlib>

#include "bytes/hasher.hpp"
#include "fuzz/iscsi.hpp"
#include "iscsi/login.hpp"

namespace ironrack::fuzz {
namespace {

using iscsi::Stage;

constexpr const char* kKeys[] = {"AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R", "HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength", "MaxBurstLength", "FirstBurstLength", "InitialR2T", "ImmediateData", "MaxOutstandingR2T", "ErrorRecoveryLevel", "DefaultTime2Wait", "TargetAddress", "X-odd"};
constexpr const char* kValues[] = {"CHAP", "None", "Yes", "No", "5", "8", "CRC32C", "8192", "0", "262144", "99999999999999999999", "0x10", "0x0102030405060708", "0bAQIDBAUGBwg=", "", "Reject", "NotUnderstood", "Irrelevant", "[::1]:3260,1", "[", ":", "-1", "256"};

/// A target that knows what it is doing, so that a login gets through all its stages.
class Target {
 public:
  Target(Input& input, const iscsi::LoginConfig& config) : input_(input), config_(config) {}

  /// It knows the secret of mutual CHAP, or was not asked.
  [[nodiscard]] bool proved() const { return proved_; }
  /// What it says next; the login's requests are known without looking at them.
  iscsi::TextKeys answer(iscsi::LoginResponse& pdu) {
    iscsi::TextKeys keys;
    pdu.current = stage_;
    if (stage_ == Stage::security) {
      switch (config_.chap ? said_++ : kProof) {
        case 0: keys.set("AuthMethod", "CHAP").set("TargetPortalGroupTag", "1"); return keys;
        case 1: return challenge();
        default: break;
      }
      if (config_.chap && config_.chap->target) prove(keys);
      pdu.transit = true;
      pdu.next = input_.one_in(4) ? Stage::full_feature : Stage::operational;
      stage_ = Stage::operational;
      return keys;
    }
    keys.set("HeaderDigest", input_.one_in(2) && config_.offer.header_digest ? "CRC32C" : "None").set("DataDigest", input_.one_in(2) && config_.offer.data_digest ? "CRC32C" : "None");
    keys.set("MaxRecvDataSegmentLength", std::to_string(512 + input_.below(1 << 24))).set("MaxBurstLength", std::to_string(512 + input_.below(16776192 - 512)));
    keys.set("FirstBurstLength", std::to_string(512 + input_.below(262144 - 512))).set("MaxOutstandingR2T", std::to_string(1 + input_.below(8)));
    keys.set("InitialR2T", input_.one_in(2) ? "Yes" : "No").set("ImmediateData", input_.one_in(2) ? "Yes" : "No").set("ErrorRecoveryLevel", "0").set("MaxConnections", "1").set("DefaultTime2Wait", "2");
    pdu.transit = !input_.one_in(4);
    pdu.next = Stage::full_feature;
    return keys;
  }

 private:
  static constexpr int kProof = 2;

  iscsi::TextKeys challenge() {
    const auto all = iscsi::chap_algorithms();
    algorithm_ = all[input_.below(static_cast<std::uint32_t>(all.size()))];
    auto bytes = input_.one_in(8) ? config_.mutual_challenge : input_.noise(40);
    bytes.resize(bytes.size() + input_.below(2));
    return iscsi::TextKeys{}.set("CHAP_A", std::to_string(static_cast<int>(algorithm_))).set("CHAP_I", std::to_string(input_.below(256))).set("CHAP_C", "0x" + to_hex(bytes));
  }

  void prove(iscsi::TextKeys& keys) {
    auto proof = iscsi::chap_response(algorithm_, config_.mutual_identifier, config_.chap->target->secret, config_.mutual_challenge);
    if (!proof) std::abort();
    proved_ = !input_.one_in(4);
    if (!proved_) proof->at(0) ^= std::byte{1};
    keys.set("CHAP_N", config_.chap->target->username).set("CHAP_R", "0x" + to_hex(*proof));
  }

  Input& input_;
  const iscsi::LoginConfig& config_;
  Stage stage_ = Stage::security;
  iscsi::ChapAlgorithm algorithm_ = iscsi::ChapAlgorithm::md5;
  int said_ = 0;
  bool proved_ = true;
};

/// Anything in the form of a login response.
iscsi::TextKeys anything(Input& input, iscsi::LoginResponse& pdu) {
  pdu.current = static_cast<Stage>(input.below(2));
  pdu.next = static_cast<Stage>(input.below(4));
  pdu.transit = input.one_in(2);
  pdu.status_class = input.one_in(10) ? static_cast<std::uint8_t>(input.below(5)) : std::uint8_t{0};
  pdu.status_detail = static_cast<std::uint8_t>(input.below(16));
  pdu.version_active = input.one_in(30) ? 1 : 0;
  iscsi::TextKeys keys;
  for (std::uint32_t i = input.below(6); i > 0; i--) keys.set(kKeys[input.below(std::size(kKeys))], kValues[input.below(std::size(kValues))]);
  return keys;
}

void check(const iscsi::Negotiated& got, const iscsi::Offer& offer) {
  if (got.first_burst_length > got.max_burst_length || got.max_burst_length > offer.max_burst_length || got.max_recv_data_segment_length < 512) std::abort();
  if ((got.header_digest && !offer.header_digest) || (got.data_digest && !offer.data_digest)) std::abort();
}

}  // namespace

/// A login that is answered with anything, by a target that begins as a good one.
void fuzz_login(Input& input) {
  iscsi::LoginConfig config;
  config.initiator_name = "iqn.us";
  if (!input.one_in(6)) config.target_name = "iqn.them";
  config.offer.header_digest = input.one_in(2);
  config.offer.data_digest = input.one_in(2);
  if (input.one_in(2)) {
    config.chap = iscsi::ChapCredentials{{"user", "secretsecret"}, std::nullopt};
    if (input.one_in(2)) config.chap->target = iscsi::ChapPeer{"them", "othersecret12"};
  }
  config.mutual_challenge = input.noise(16);
  iscsi::Login login(config);
  (void)login.start();
  Target target(input, config);
  const auto odd = input.one_in(3) ? 0 : 1 + input.below(12);
  bool honest = true;
  for (int step = 0; step < 40; step++) {
    iscsi::LoginResponse pdu;
    auto keys = target.answer(pdu);
    if (odd > 0 && input.one_in(odd)) {
      keys = anything(input, pdu);
      honest = false;
    }
    auto text = iscsi::encode_text(keys);
    if (odd > 0 && input.one_in(2 * odd)) {
      input.change(text);
      honest = false;
    }
    // The text may come in pieces.
    while (text.size() > 1 && input.one_in(6)) {
      iscsi::LoginResponse piece = pdu;
      piece.transit = input.one_in(50);
      piece.cont = true;
      const auto some = 1 + input.below(static_cast<std::uint32_t>(text.size() - 1));
      const auto more = login.advance(piece, ByteSpan(text).first(some));
      if (!more || !std::holds_alternative<iscsi::LoginSend>(*more)) return;
      text.erase(text.begin(), text.begin() + some);
    }
    const auto result = login.advance(pdu, text);
    if (!result) return;
    if (const auto* done = std::get_if<iscsi::LoginDone>(&*result)) {
      check(done->negotiated, config.offer);
      if (honest && config.chap && config.chap->target && !target.proved()) std::abort();
    }
    if (!std::holds_alternative<iscsi::LoginSend>(*result)) return;
  }
}

}  // namespace ironrack::fuzz
