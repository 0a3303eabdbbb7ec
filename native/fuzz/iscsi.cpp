#include "fuzz/iscsi.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "iscsi/framer.hpp"
#include "iscsi/pdu.hpp"
#include "iscsi/scsi.hpp"
#include "iscsi/text.hpp"

namespace ironrack::fuzz {
namespace {

Bytes header(Input& input, std::uint32_t length) {
  Bytes out(iscsi::kHeaderSize);
  out[0] = static_cast<std::byte>(input.below(64));
  out[1] = input.one_in(3) ? input.byte() : std::byte{0x80};
  store_be24(&out[5], length);
  store_be(&out[16], static_cast<std::uint32_t>(input.number()));
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
    auto bytes = header(input, input.below(1 << 24));
    if (input.one_in(2)) input.change(bytes);
    bytes.resize(iscsi::kHeaderSize);
    (void)iscsi::decode_lengths(bytes);
    (void)iscsi::decode_target_pdu(bytes);
  }
  const std::uint32_t most = 512u << input.below(6);
  iscsi::Framer framer(most);
  framer.use_digests(input.one_in(8), input.one_in(8));
  for (int step = 0; step < 40; step++) {
    auto bytes = header(input, input.one_in(8) ? input.below(1 << 24) : input.below(most + 1));
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

void fuzz_scsi(Input& input) {
  const auto bytes = input.noise(300);
  (void)iscsi::decode_sense(bytes);
  (void)iscsi::decode_inquiry(bytes);
  (void)iscsi::decode_capacity_16(bytes);
  (void)iscsi::decode_capacity_10(bytes);
  (void)iscsi::decode_block_limits(bytes);
  (void)iscsi::decode_provisioning(bytes);
  (void)iscsi::decode_supported_pages(bytes);
  (void)iscsi::decode_serial(bytes);
  (void)iscsi::decode_write_protect(bytes);
  auto sense = input.noise(80);
  if (!sense.empty()) sense[0] = static_cast<std::byte>(0x70 + input.below(4));
  (void)iscsi::decode_sense(sense);
}

}  // namespace ironrack::fuzz
