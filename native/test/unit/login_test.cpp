#include "iscsi/login.hpp"

#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::iscsi;

namespace {

LoginConfig config_with_chap() {
  LoginConfig config;
  config.initiator_name = "iqn.test:us";
  config.target_name = "iqn.test:them";
  config.chap = ChapCredentials{{"user", "secretsecret"}, std::nullopt};
  return config;
}

LoginResponse response(Stage current, bool transit, Stage next) {
  LoginResponse pdu;
  pdu.current = current;
  pdu.transit = transit;
  pdu.next = next;
  return pdu;
}

TextKeys text_of(const LoginSend& message) { return *decode_text(message.data); }

Result<LoginStep> answer(Login& login, const LoginResponse& pdu, const TextKeys& keys) { return login.advance(pdu, encode_text(keys)); }

Result<LoginStep> settle(const TextKeys& keys, Offer offer = {}) {
  LoginConfig config;
  config.initiator_name = "iqn.test:us";
  config.target_name = "iqn.test:them";
  config.offer = offer;
  Login login(config);
  login.start();
  auto step = answer(login, response(Stage::security, true, Stage::operational), {});
  if (!step) return step;
  return answer(login, response(Stage::operational, true, Stage::full_feature), keys);
}

}  // namespace

RULE("CHAP answers the challenge with the hash of identifier, secret and challenge — RFC 1994 §4.1") {
  Login login(config_with_chap());
  CHECK(*text_of(login.start()).find("AuthMethod") == "CHAP,None");
  auto step = answer(login, response(Stage::security, false, Stage::security), TextKeys().set("AuthMethod", "CHAP"));
  CHECK(step && *text_of(std::get<LoginSend>(*step)).find("CHAP_A") == "8,7,6,5");
  step = answer(login, response(Stage::security, false, Stage::security), TextKeys().set("CHAP_A", "5").set("CHAP_I", "42").set("CHAP_C", "0x0102030405060708090a0b0c0d0e0f10"));
  CHECK(step.has_value());
  const auto keys = text_of(std::get<LoginSend>(*step));
  // MD5 of 2Ah, the secret, and the challenge, by Python hashlib
  CHECK(*keys.find("CHAP_N") == "user" && *keys.find("CHAP_R") == "0xf1e0f843607477a0605c5a874f334c82");
}

RULE("an algorithm that was not offered is a protocol fault") {
  Login login(config_with_chap());
  login.start();
  (void)answer(login, response(Stage::security, false, Stage::security), TextKeys().set("AuthMethod", "CHAP"));
  const auto step = answer(login, response(Stage::security, false, Stage::security), TextKeys().set("CHAP_A", "99").set("CHAP_I", "1").set("CHAP_C", "0x01"));
  CHECK(!step && step.error().kind == FaultKind::protocol);
}

RULE("a target that asks for no proof is not accepted where it must prove itself") {
  auto config = config_with_chap();
  config.chap->target = ChapPeer{"them", "othersecret12"};
  config.mutual_challenge = {std::byte{9}, std::byte{8}};
  Login login(config);
  CHECK(*text_of(login.start()).find("AuthMethod") == "CHAP");
  const auto step = answer(login, response(Stage::security, true, Stage::operational), TextKeys().set("AuthMethod", "None"));
  CHECK(!step && step.error().code == "iscsi.target-not-authentic");
}

RULE("a target that reflects our own challenge is refused — RFC 7143 §12.1.3") {
  auto config = config_with_chap();
  config.chap->target = ChapPeer{"them", "othersecret12"};
  config.mutual_challenge = {std::byte{9}, std::byte{8}};
  Login login(config);
  login.start();
  (void)answer(login, response(Stage::security, false, Stage::security), TextKeys().set("AuthMethod", "CHAP"));
  const auto step = answer(login, response(Stage::security, false, Stage::security), TextKeys().set("CHAP_A", "5").set("CHAP_I", "1").set("CHAP_C", "0x0908"));
  CHECK(!step && step.error().kind == FaultKind::protocol);
}

RULE("the target's answers are the result of the negotiation") {
  const auto step = settle(TextKeys()
                               .set("HeaderDigest", "None")
                               .set("MaxRecvDataSegmentLength", "65536")
                               .set("MaxBurstLength", "131072")
                               .set("FirstBurstLength", "262144")
                               .set("InitialR2T", "Yes")
                               .set("ImmediateData", "No")
                               .set("MaxOutstandingR2T", "4"));
  CHECK(step.has_value());
  const auto& negotiated = std::get<LoginDone>(*step).negotiated;
  CHECK(negotiated.max_recv_data_segment_length == 65536 && negotiated.max_burst_length == 131072);
  CHECK(negotiated.first_burst_length == 131072);  // never above MaxBurstLength, §13.14
  CHECK(negotiated.initial_r2t && !negotiated.immediate_data && negotiated.max_outstanding_r2t == 4);
}

RULE("keys that the target leaves out keep their defaults — RFC 7143 §13") {
  const auto step = settle({});
  const auto& negotiated = std::get<LoginDone>(*step).negotiated;
  CHECK(negotiated.max_recv_data_segment_length == 8192 && negotiated.first_burst_length == 65536 && negotiated.max_burst_length == 262144);
  CHECK(negotiated.initial_r2t && negotiated.immediate_data && negotiated.max_outstanding_r2t == 1 && !negotiated.data_digest);
}

RULE("answers that cannot be results of our offer are refused") {
  CHECK(!settle(TextKeys().set("HeaderDigest", "CRC32C")));
  CHECK(!settle(TextKeys().set("MaxBurstLength", "99999999")));
  CHECK(!settle(TextKeys().set("MaxRecvDataSegmentLength", "12")));
  CHECK(!settle(TextKeys().set("ErrorRecoveryLevel", "2")));
  CHECK(!settle(TextKeys().set("InitialR2T", "Maybe")));
  Offer offer;
  offer.immediate_data = false;
  CHECK(!settle(TextKeys().set("ImmediateData", "Yes"), offer));
}

RULE("login statuses become faults that say who is wrong") {
  for (const auto& [status_class, detail, kind] : {std::tuple{2, 1, FaultKind::refused}, {2, 3, FaultKind::not_found}, {3, 1, FaultKind::busy}, {2, 99, FaultKind::refused}}) {
    Login login(config_with_chap());
    login.start();
    auto pdu = response(Stage::security, false, Stage::security);
    pdu.status_class = static_cast<std::uint8_t>(status_class);
    pdu.status_detail = static_cast<std::uint8_t>(detail);
    const auto step = answer(login, pdu, {});
    CHECK(!step && step.error().kind == kind);
  }
}

RULE("a redirect carries address and port, with brackets around IPv6") {
  Login login(config_with_chap());
  login.start();
  auto pdu = response(Stage::security, false, Stage::security);
  pdu.status_class = 1;
  const auto step = answer(login, pdu, TextKeys().set("TargetAddress", "[fd00::1]:3261,1"));
  CHECK(step && std::get<LoginRedirect>(*step).address == "fd00::1" && std::get<LoginRedirect>(*step).port == 3261);
  CHECK(parse_target_address("192.0.2.7")->port == 3260);
  CHECK(!parse_target_address("192.0.2.7:x"));
  CHECK(!parse_target_address("[fd00::1"));
  CHECK(!parse_target_address(""));
}

RULE("a login that never ends is given up, with or without continued text") {
  Login login(config_with_chap());
  login.start();
  auto pdu = response(Stage::security, false, Stage::security);
  pdu.cont = true;
  bool over = false;
  for (int i = 0; i < 100 && !over; i++) over = !login.advance(pdu, {});
  CHECK(over);
}
