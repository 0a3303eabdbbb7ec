// Short fuzzers for everything that reads bytes from outside, run under ASan and UBSan: fuzz SECONDS [SEED].
// Inputs are valid ones with changes, and noise; a crash or a sanitizer's report is the only failure. The seed is printed.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "fuzz/input.hpp"
#include "fuzz/packed.hpp"
#include "image/decoder.hpp"
#include "image/format.hpp"
#include "image/qcow2.hpp"
#include "iscsi/session.hpp"
#include "serve/tftp_exchange.hpp"
#include "serve/tftp_packet.hpp"

using namespace ironrack;
using namespace ironrack::fuzz;

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

void fuzz_qcow2(Input& input) {
  Bytes bytes(4096);
  store_be<std::uint32_t>(&bytes[0], 0x514649fb);
  store_be<std::uint32_t>(&bytes[4], 2 + input.below(2));
  store_be<std::uint32_t>(&bytes[20], 9 + input.below(13));
  store_be<std::uint64_t>(&bytes[24], input.number());
  store_be<std::uint32_t>(&bytes[36], static_cast<std::uint32_t>(input.number()));
  store_be<std::uint64_t>(&bytes[40], input.one_in(2) ? 0x200000 : input.number());
  if (input.one_in(3)) store_be<std::uint64_t>(&bytes[72], input.one_in(2) ? 8 + 16 * input.below(2) : input.number());
  store_be<std::uint32_t>(&bytes[100], 104 + 8 * input.below(3));
  bytes[104] = static_cast<std::byte>(input.below(3));
  for (std::size_t at = 112; input.one_in(2) && at + 16 < bytes.size();) {
    static constexpr std::uint32_t kTypes[] = {0x6803f857, 0x0537be77, 0x44415441, 0xe2792aca, 0x12345678};
    store_be<std::uint32_t>(&bytes[at], kTypes[input.below(5)]);
    const auto length = input.one_in(5) ? static_cast<std::uint32_t>(input.number()) : input.below(200);
    store_be<std::uint32_t>(&bytes[at + 4], length);
    at += 8 + ((std::size_t{length} + 7) & ~std::size_t{7});
  }
  if (input.one_in(2)) input.change(bytes);
  const auto file_size = input.one_in(4) ? input.number() : std::uint64_t{1} << (20 + input.below(20));
  (void)image::probe(bytes);
  auto decoded = image::decode_qcow2_header(bytes, file_size);
  image::Qcow2Header header;
  if (decoded) {
    header = *decoded;
  } else {
    header.version = 3;
    header.cluster_bits = 9 + input.below(13);
    header.extended_l2 = header.cluster_bits >= 14 && input.one_in(2);
  }
  for (int i = 0; i < 50; i++) {
    const auto l1 = image::decode_l1_entry(header, input.number(), file_size);
    if (l1 && *l1 && (**l1 > file_size || header.cluster_size() > file_size - **l1)) std::abort();
    const auto needed = 1 + input.below(header.cluster_size());
    const auto l2 = image::decode_l2_entry(header, input.number() | (input.one_in(2) ? std::uint64_t{1} << 62 : 0), input.number(), needed, file_size);
    if (l2 && l2->kind == image::ClusterKind::compressed && (l2->file_offset >= file_size || l2->file_length > file_size - l2->file_offset)) std::abort();
    if (l2 && l2->kind == image::ClusterKind::data && needed > file_size - l2->file_offset) std::abort();
  }
}

/// Whatever comes in on a transfer's port, what is sent lies within the file and the window.
void fuzz_tftp(Input& input) {
  serve::TftpTerms terms{8 + input.below(65457), 1 + input.below(65535), std::nullopt, input.one_in(2)};
  if (input.one_in(2)) terms.windowsize = 1 + input.below(8);
  if (input.one_in(3)) terms.timeout_s = 1 + input.below(255);
  const std::uint64_t size = input.number() >> 11;
  serve::TftpExchange exchange(size, terms);
  auto actions = exchange.start();
  for (int i = 0; i < 100; i++) {
    if (actions.count > 0) {
      const auto last = actions.first + actions.count - 1;
      if (actions.first == 0 || last > exchange.blocks() || actions.count > terms.windowsize) std::abort();
      if (exchange.offset(last) + exchange.length(last) > size || exchange.length(actions.first) > terms.blksize) std::abort();
    }
    if (actions.done && !exchange.over()) std::abort();
    Bytes packet(4 + input.below(12));
    store_be<std::uint16_t>(packet.data(), input.one_in(20) ? static_cast<std::uint16_t>(input.below(8)) : std::uint16_t{serve::kAck});
    store_be<std::uint16_t>(packet.data() + 2, static_cast<std::uint16_t>(exchange.acknowledged() + input.below(input.one_in(4) ? 65536 : terms.windowsize + 2)));
    if (input.one_in(10)) input.change(packet);
    actions = input.one_in(15) ? exchange.timeout() : exchange.receive(input.one_in(20) ? input.noise(40) : packet);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 5;
  auto seed = argc > 2 ? static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10)) : std::random_device{}();
  struct Row {
    const char* name;
    void (*run)(Input&);
  };
  static constexpr Row kRows[] = {{"session", fuzz_session}, {"login", fuzz_login}, {"scsi", fuzz_scsi}, {"qcow2", fuzz_qcow2}, {"tftp", fuzz_tftp}, {"gzip", fuzz_gzip}, {"zstd", fuzz_zstd}, {"xz", fuzz_xz}, {"bzip2", fuzz_bzip2}};
  for (const auto& [name, run] : kRows) {
    std::printf("fuzz %s, first seed %u\n", name, seed);
    std::fflush(stdout);
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(seconds * 1000 / static_cast<int>(std::size(kRows)));
    std::uint64_t rounds = 0;
    while (std::chrono::steady_clock::now() < end) {
      // A crash leaves the seed of its own round behind: fuzz 1 SEED repeats it first.
      Input input(seed++);
      run(input);
      rounds++;
    }
    std::printf("fuzz %s: %llu rounds\n", name, static_cast<unsigned long long>(rounds));
  }
  return 0;
}
