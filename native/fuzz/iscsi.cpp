#include "fuzz/iscsi.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "iscsi/session.hpp"

namespace ironrack::fuzz {
namespace {

Bytes header(Input& input, int opcode, std::uint32_t itt, std::uint32_t length) {
  Bytes out(iscsi::kHeaderSize);
  out[0] = static_cast<std::byte>(opcode);
  out[1] = input.one_in(3) ? input.byte() : std::byte{0x80};
  store_be24(&out[5], length);
  store_be(&out[16], itt);
  store_be<std::uint32_t>(&out[20], input.one_in(2) ? 0xffffffff : input.below(100));
  store_be<std::uint32_t>(&out[24], input.below(4));
  store_be<std::uint32_t>(&out[28], input.below(4));
  store_be<std::uint32_t>(&out[32], input.below(200));
  for (std::size_t at = 36; at < 48; at += 4) store_be<std::uint32_t>(&out[at], input.one_in(2) ? input.below(70000) : static_cast<std::uint32_t>(input.number()));
  return out;
}

}  // namespace

/// Any header decodes or is refused, and a stream of any bytes is cut into frames that lie within it.
void fuzz_pdu(Input& input) {
  for (int i = 0; i < 20; i++) {
    auto bytes = header(input, static_cast<int>(input.below(64)), static_cast<std::uint32_t>(input.number()), input.below(1 << 24));
    if (input.one_in(2)) input.change(bytes);
    bytes.resize(iscsi::kHeaderSize);
    (void)iscsi::decode_lengths(bytes);
    (void)iscsi::decode_target_pdu(bytes);
  }
  const std::uint32_t most = 512u << input.below(6);
  iscsi::Framer framer(most);
  framer.use_digests(input.one_in(8), input.one_in(8));
  for (int step = 0; step < 40; step++) {
    auto bytes = header(input, static_cast<int>(input.below(64)), static_cast<std::uint32_t>(input.number()), input.one_in(8) ? input.below(1 << 24) : input.below(most + 1));
    bytes[4] = input.one_in(4) ? input.byte() : std::byte{0};
    const auto body = input.noise(most);
    bytes.insert(bytes.end(), body.begin(), body.end());
    for (std::size_t at = 0; at < bytes.size();) {
      const auto room = framer.room();
      if (room.empty()) std::abort();
      const auto count = std::min({room.size(), bytes.size() - at, std::size_t{1} + input.below(3000)});
      std::memcpy(room.data(), &bytes[at], count);
      framer.received(count);
      at += count;
      while (true) {
        const auto frame = framer.next();
        if (!frame) return;
        if (!*frame) break;
        if ((*frame)->header.size() != iscsi::kHeaderSize || (*frame)->data.size() > most) std::abort();
        (void)iscsi::decode_target_pdu((*frame)->header);
      }
    }
  }
}

/// Text of any bytes: what decodes encodes to what decodes to the same, and values keep their bounds.
void fuzz_text(Input& input) {
  static constexpr char kLetters[] = "=\0,:0123456789abcdefxXbB+/[]MaxRecvDataSegmentLength";
  Bytes bytes;
  for (std::uint32_t left = input.below(400); left > 0; left--) bytes.push_back(input.one_in(12) ? input.byte() : static_cast<std::byte>(kLetters[input.below(sizeof kLetters - 1)]));
  const auto keys = iscsi::decode_text(bytes);
  if (!keys) return;
  const auto again = iscsi::decode_text(iscsi::encode_text(*keys));
  if (!again || again->pairs() != keys->pairs()) std::abort();
  for (const auto& [key, value] : keys->pairs()) {
    (void)iscsi::parse_number(key, value);
    const std::size_t limit = input.below(40);
    for (const auto& text : {value, "0x" + value, "0b" + value}) {
      const auto binary = iscsi::parse_binary(key, text, limit);
      if (binary && binary->size() > limit) std::abort();
    }
  }
}

/// A session that is told anything, in pieces of any size.
void fuzz_session(Input& input) {
  iscsi::Negotiated negotiated;
  negotiated.max_recv_data_segment_length = 512u << input.below(10);
  negotiated.initial_r2t = input.one_in(2);
  negotiated.immediate_data = input.one_in(2);
  negotiated.data_digest = input.one_in(4);
  negotiated.header_digest = input.one_in(4);
  negotiated.window = {0, 1, 40};
  iscsi::Session session(negotiated, 1, 0);
  iscsi::Framer framer(8192);
  const Bytes data(65536);
  std::vector<Bytes> rooms;
  std::vector<std::uint32_t> tags;
  std::array<iovec, 64> vectors;
  rooms.reserve(64);
  for (int step = 0; step < 60; step++) {
    if (session.room() > 0 && input.one_in(2) && rooms.size() < 60) {
      iscsi::Command command;
      command.cookie = static_cast<std::uint64_t>(step);
      if (input.one_in(2)) {
        command.cdb = iscsi::write_16(0, 128);
        command.out.memory = data.data();
        command.out.length = 65536 >> input.below(8);
      } else {
        command.cdb = iscsi::read_16(0, 8);
        command.in = rooms.emplace_back(input.below(8192));
      }
      session.submit(command, 0);
    }
    if (input.one_in(2) && session.has_output()) {
      const auto burst = session.next_burst(vectors);
      std::size_t total = 0;
      for (std::size_t i = 0; i < burst.count; i++) {
        if (vectors[i].iov_len >= iscsi::kHeaderSize && tags.size() < 100) tags.push_back(load_be<std::uint32_t>(static_cast<const std::byte*>(vectors[i].iov_base) + 16));
        total += vectors[i].iov_len;
      }
      session.sent(input.one_in(2) ? total : input.below(static_cast<std::uint32_t>(total + 1)));
    }
    static constexpr int kOpcodes[] = {0x20, 0x21, 0x21, 0x22, 0x23, 0x24, 0x25, 0x25, 0x26, 0x31, 0x31, 0x31, 0x32, 0x3f};
    auto body = input.noise(input.one_in(4) ? 9000 : 64);
    auto pdu = header(input, kOpcodes[input.below(std::size(kOpcodes))], tags.empty() || input.one_in(5) ? static_cast<std::uint32_t>(input.number()) : tags[input.below(static_cast<std::uint32_t>(tags.size()))], static_cast<std::uint32_t>(body.size()));
    if (input.one_in(6)) input.change(pdu);
    if (input.one_in(3)) {
      pdu.insert(pdu.end(), body.begin(), body.end());
      const auto room = framer.room();
      const auto count = std::min(room.size(), pdu.size());
      std::memcpy(room.data(), pdu.data(), count);
      framer.received(count);
      while (true) {
        const auto frame = framer.next();
        if (!frame) return;
        if (!*frame) break;
        if (!session.receive(**frame, 0)) return;
      }
    } else if (pdu.size() == iscsi::kHeaderSize) {
      if (!session.receive({pdu, body}, 0)) return;
    }
    (void)session.take_completions();
  }
}

/// A login that is answered with anything.
void fuzz_login(Input& input) {
  static constexpr const char* kKeys[] = {"AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R", "HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength", "MaxBurstLength", "FirstBurstLength", "InitialR2T", "ImmediateData", "MaxOutstandingR2T", "ErrorRecoveryLevel", "DefaultTime2Wait", "TargetAddress", "X-odd"};
  static constexpr const char* kValues[] = {"CHAP", "None", "Yes", "No", "5", "8", "CRC32C", "8192", "0", "262144", "99999999999999999999", "0x10", "0x0102030405060708", "0bAQIDBAUGBwg=", "", "Reject", "NotUnderstood", "Irrelevant", "[::1]:3260,1", "[", ":", "-1"};
  iscsi::LoginConfig config;
  config.initiator_name = "iqn.us";
  config.target_name = "iqn.them";
  if (input.one_in(2)) {
    config.chap = iscsi::ChapCredentials{{"user", "secretsecret"}, std::nullopt};
    if (input.one_in(2)) config.chap->target = iscsi::ChapPeer{"them", "othersecret12"};
  }
  config.mutual_challenge = input.noise(16);
  iscsi::Login login(config);
  (void)login.start();
  for (int step = 0; step < 40; step++) {
    iscsi::LoginResponse pdu;
    pdu.current = static_cast<iscsi::Stage>(input.below(2));
    pdu.next = static_cast<iscsi::Stage>(input.below(4));
    pdu.transit = input.one_in(2);
    pdu.cont = input.one_in(8);
    pdu.status_class = input.one_in(10) ? static_cast<std::uint8_t>(input.below(5)) : std::uint8_t{0};
    iscsi::TextKeys keys;
    for (std::uint32_t i = input.below(6); i > 0; i--) keys.set(kKeys[input.below(std::size(kKeys))], kValues[input.below(std::size(kValues))]);
    auto text = iscsi::encode_text(keys);
    if (input.one_in(4)) input.change(text);
    const auto result = login.advance(pdu, text);
    if (!result || !std::holds_alternative<iscsi::LoginSend>(*result)) return;
  }
}

void fuzz_scsi(Input& input) {
  const auto bytes = input.noise(300);
  (void)iscsi::decode_sense(bytes);
  (void)iscsi::decode_inquiry(bytes);
  (void)iscsi::decode_capacity_16(bytes);
  (void)iscsi::decode_capacity_10(bytes);
  (void)iscsi::decode_block_limits(bytes);
  (void)iscsi::decode_provisioning(bytes);
  (void)iscsi::decode_supported_pages(bytes);
  (void)iscsi::decode_write_protect(bytes);
  auto sense = input.noise(80);
  if (!sense.empty()) sense[0] = static_cast<std::byte>(0x70 + input.below(4));
  (void)iscsi::decode_sense(sense);
}

}  // namespace ironrack::fuzz
