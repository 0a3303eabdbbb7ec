#include <cstring>
#include <random>

#include "bytes/hasher.hpp"
#include "iscsi/framer.hpp"
#include "iscsi/pdu.hpp"
#include "iscsi/scsi.hpp"
#include "iscsi/text.hpp"
#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::iscsi;

namespace {

std::vector<std::byte> unhex(std::string_view digits) {
  std::vector<std::byte> out;
  std::string pair;
  for (const char c : digits) {
    if (c == ' ') continue;
    pair += c;
    if (pair.size() == 2) {
      out.push_back(static_cast<std::byte>(std::stoi(pair, nullptr, 16)));
      pair.clear();
    }
  }
  return out;
}

void feed(Framer& framer, ByteSpan bytes) {
  const auto room = framer.room();
  std::memcpy(room.data(), bytes.data(), bytes.size());
  framer.received(bytes.size());
}

}  // namespace

RULE("a WRITE(16) command with immediate data has every field where RFC 7143 §11.3 puts it") {
  ScsiCommand pdu;
  pdu.write = true;
  pdu.lun = encode_lun(1);
  pdu.itt = 0x11223344;
  pdu.expected_data_transfer_length = 0x40000;
  pdu.cmd_sn = 0x01020304;
  pdu.exp_stat_sn = 0x0a0b0c0d;
  pdu.cdb = write_16(0x123456789a, 512);
  pdu.data_segment_length = 0x2000;
  CHECK(to_hex(encode(pdu)) ==
        "01a10000" "00002000" "0001000000000000" "11223344" "00040000" "01020304" "0a0b0c0d"
        "8a00000000123456789a000002000000");
}

RULE("a login request has its stages, ISID and CID where RFC 7143 §11.12 puts them") {
  LoginRequest pdu;
  pdu.transit = true;
  pdu.current = Stage::operational;
  pdu.next = Stage::full_feature;
  pdu.isid = {std::byte{0x80}, std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
  pdu.cid = 7;
  pdu.cmd_sn = 1;
  pdu.data_segment_length = 5;
  CHECK(to_hex(encode(pdu)) == "43870000" "00000005" "800102030405" "0000" "00000000" "00070000" "00000001" "00000000" "00000000000000000000000000000000");
}

RULE("LUNs below 256 use peripheral addressing, others flat space — SAM-5 §4.7") {
  CHECK(encode_lun(5) == 0x0005000000000000);
  CHECK(encode_lun(300) == 0x412c000000000000);
}

RULE("an R2T decodes to what its bytes say") {
  const auto bytes = unhex("31800000 00000000 0001000000000000 00000007 12345678 00000009 0000000a 00000049 00000002 00010000 00040000");
  const auto pdu = decode_target_pdu(bytes);
  CHECK(pdu.has_value());
  const auto& r2t = std::get<ReadyToTransfer>(*pdu);
  CHECK(r2t.itt == 7 && r2t.ttt == 0x12345678 && r2t.window.max_cmd_sn == 0x49 && r2t.r2t_sn == 2);
  CHECK(r2t.buffer_offset == 0x10000 && r2t.desired_data_transfer_length == 0x40000);
}

RULE("an opcode that only an initiator sends is a protocol fault") {
  for (const int opcode : {0x00, 0x01, 0x05, 0x1f, 0x27, 0x3e}) {
    std::vector<std::byte> bytes(kHeaderSize);
    bytes[0] = static_cast<std::byte>(opcode);
    const auto pdu = decode_target_pdu(bytes);
    CHECK(!pdu && pdu.error().kind == FaultKind::protocol);
  }
}

RULE("the framer cuts the same PDUs however the bytes arrive") {
  std::vector<std::byte> stream;
  for (int i = 0; i < 20; i++) {
    std::vector<std::byte> pdu(kHeaderSize);
    pdu[0] = std::byte{0x21};
    const auto length = static_cast<std::uint32_t>(i * 37 % 101);
    store_be24(&pdu[5], length);
    pdu.resize(kHeaderSize + ((length + 3) & ~3u), static_cast<std::byte>(i));
    stream.insert(stream.end(), pdu.begin(), pdu.end());
  }
  std::mt19937 random(3);
  for (int round = 0; round < 50; round++) {
    Framer framer(1000);
    std::size_t at = 0;
    int count = 0;
    while (at < stream.size()) {
      const auto piece = std::min<std::size_t>(stream.size() - at, 1 + random() % 90);
      feed(framer, ByteSpan(stream).subspan(at, piece));
      at += piece;
      while (true) {
        const auto frame = framer.next();
        CHECK(frame.has_value());
        if (!*frame) break;
        CHECK((*frame)->data.size() == static_cast<std::size_t>(count * 37 % 101));
        count++;
      }
    }
    CHECK(count == 20);
  }
}

RULE("a data segment longer than we declared is refused before it is taken in") {
  Framer framer(4096);
  std::vector<std::byte> header(kHeaderSize);
  header[0] = std::byte{0x25};
  store_be24(&header[5], 4097);
  feed(framer, header);
  const auto frame = framer.next();
  CHECK(!frame && frame.error().code == "iscsi.segment-too-long");
}

RULE("a wrong digest is found") {
  Framer framer(4096);
  framer.use_digests(true, true);
  std::vector<std::byte> bytes(kHeaderSize + 4);
  feed(framer, bytes);
  const auto frame = framer.next();
  CHECK(!frame && frame.error().code == "iscsi.digest");
}

RULE("text survives encoding and decoding, and text without '=' is malformed") {
  TextKeys keys;
  keys.set("InitiatorName", "iqn.x").set("SessionType", "Normal").set("Empty", "");
  const auto decoded = decode_text(encode_text(keys));
  CHECK(decoded && decoded->pairs() == keys.pairs());
  const auto bad = unhex("41424300");
  CHECK(!decode_text(bad));
}

RULE("binary values come in hexadecimal and base64, with a limit") {
  CHECK(to_hex(*parse_binary("k", "0x0aFF", 2)) == "0aff");
  CHECK(to_hex(*parse_binary("k", "0xaff", 2)) == "0aff");
  CHECK(to_hex(*parse_binary("k", "0bAQID", 3)) == "010203");
  CHECK(to_hex(*parse_binary("k", "0bAQI=", 3)) == "0102");
  CHECK(!parse_binary("k", "0x0aff00", 2));
  // Of base64 too; five digits are three bytes.
  CHECK(!parse_binary("k", "0bAQIDB", 2));
  CHECK(!parse_binary("k", "0bAQID", 2));
  CHECK(!parse_binary("k", "12", 2));
  CHECK(!parse_binary("k", "0xzz", 2));
}

RULE("sense is read in fixed and in descriptor format, and at every truncation of either") {
  const auto fixed = unhex("f0000300001234 0a 00000000 1100 0000 0000");
  const auto sense = decode_sense(fixed);
  CHECK(sense && sense->key == SenseKey::medium_error && sense->asc == 0x11 && sense->information == 0x1234);
  const auto descriptors = unhex("7205 2100 000000 0c 000a8000 0000000123456789");
  const auto other = decode_sense(descriptors);
  CHECK(other && other->key == SenseKey::illegal_request && other->asc == 0x21 && other->information == 0x123456789);
  CHECK(describe(*other) == "ILLEGAL REQUEST 21h/00h");
  for (std::size_t length = 0; length < fixed.size(); length++) (void)decode_sense(ByteSpan(fixed).first(length));
  for (std::size_t length = 0; length < descriptors.size(); length++) (void)decode_sense(ByteSpan(descriptors).first(length));
}

RULE("capacities that cannot be are refused") {
  CHECK(decode_capacity_16(unhex("00000000000000ff 00000200 00c0 0000"))->blocks == 256);
  CHECK(decode_capacity_16(unhex("00000000000000ff 00000200 0000 c000"))->unmapped_reads_zero);
  CHECK(!decode_capacity_16(unhex("ffffffffffffffff 00000200 0000 0000")));
  CHECK(!decode_capacity_16(unhex("00000000000000ff 00000201 0000 0000")));
  CHECK(!decode_capacity_16(unhex("00000000000000ff 00000000 0000 0000")));
  CHECK(!decode_capacity_16(unhex("00000000000000ff")));
}
