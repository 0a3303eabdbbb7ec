#include "iscsi/pdu.hpp"

#include <algorithm>

namespace ironrack::iscsi {
namespace {

constexpr std::uint8_t kImmediate = 0x40;
constexpr std::uint8_t kFinal = 0x80;
constexpr std::uint8_t kContinue = 0x40;
constexpr std::uint8_t kSimpleTask = 1;

/// Writes one header; every field not named stays zero.
class HeaderWriter {
 public:
  HeaderWriter(std::uint8_t opcode, std::uint8_t flags) {
    header_[0] = static_cast<std::byte>(opcode);
    header_[1] = static_cast<std::byte>(flags);
  }
  HeaderWriter& u8(std::size_t at, std::uint8_t value) { return header_[at] = static_cast<std::byte>(value), *this; }
  HeaderWriter& u16(std::size_t at, std::uint16_t value) { return store_be(&header_[at], value), *this; }
  HeaderWriter& u32(std::size_t at, std::uint32_t value) { return store_be(&header_[at], value), *this; }
  HeaderWriter& u64(std::size_t at, std::uint64_t value) { return store_be(&header_[at], value), *this; }
  HeaderWriter& data_segment_length(std::uint32_t value) { return store_be24(&header_[5], value), *this; }
  HeaderWriter& bytes(std::size_t at, ByteSpan value) { return std::ranges::copy(value, header_.begin() + static_cast<std::ptrdiff_t>(at)), *this; }
  [[nodiscard]] const Header& header() const { return header_; }

 private:
  Header header_{};
};

}  // namespace

std::uint64_t encode_lun(std::uint16_t lun) {
  const std::uint64_t first = lun < 256 ? lun : 0x4000u | (lun & 0x3fffu);
  return first << 48;
}

Header encode(const NopOut& pdu) {
  return HeaderWriter(0x00 | kImmediate, kFinal).data_segment_length(pdu.data_segment_length).u64(8, pdu.lun).u32(16, pdu.itt).u32(20, pdu.ttt).u32(24, pdu.cmd_sn).u32(28, pdu.exp_stat_sn).header();
}

Header encode(const ScsiCommand& pdu) {
  const auto flags = static_cast<std::uint8_t>((pdu.final ? kFinal : 0) | (pdu.read ? 0x40 : 0) | (pdu.write ? 0x20 : 0) | kSimpleTask);
  return HeaderWriter(0x01, flags)
      .data_segment_length(pdu.data_segment_length)
      .u64(8, pdu.lun)
      .u32(16, pdu.itt)
      .u32(20, pdu.expected_data_transfer_length)
      .u32(24, pdu.cmd_sn)
      .u32(28, pdu.exp_stat_sn)
      .bytes(32, pdu.cdb)
      .header();
}

Header encode(const TaskManagementRequest& pdu) {
  return HeaderWriter(0x02 | kImmediate, static_cast<std::uint8_t>(kFinal | static_cast<std::uint8_t>(pdu.function)))
      .u64(8, pdu.lun)
      .u32(16, pdu.itt)
      .u32(20, pdu.referenced_task_tag)
      .u32(24, pdu.cmd_sn)
      .u32(28, pdu.exp_stat_sn)
      .u32(32, pdu.ref_cmd_sn)
      .header();
}

Header encode(const LoginRequest& pdu) {
  const auto flags = static_cast<std::uint8_t>((pdu.transit ? 0x80 : 0) | (pdu.cont ? kContinue : 0) | static_cast<unsigned>(pdu.current) << 2 |
                                               (pdu.transit ? static_cast<unsigned>(pdu.next) : 0u));
  return HeaderWriter(0x03 | kImmediate, flags)
      .data_segment_length(pdu.data_segment_length)
      .bytes(8, pdu.isid)
      .u16(14, pdu.tsih)
      .u32(16, pdu.itt)
      .u16(20, pdu.cid)
      .u32(24, pdu.cmd_sn)
      .u32(28, pdu.exp_stat_sn)
      .header();
}

Header encode(const TextRequest& pdu) {
  return HeaderWriter(0x04 | kImmediate, pdu.final ? kFinal : kContinue)
      .data_segment_length(pdu.data_segment_length)
      .u32(16, pdu.itt)
      .u32(20, pdu.ttt)
      .u32(24, pdu.cmd_sn)
      .u32(28, pdu.exp_stat_sn)
      .header();
}

Header encode(const DataOut& pdu) {
  return HeaderWriter(0x05, pdu.final ? kFinal : 0)
      .data_segment_length(pdu.data_segment_length)
      .u64(8, pdu.lun)
      .u32(16, pdu.itt)
      .u32(20, pdu.ttt)
      .u32(28, pdu.exp_stat_sn)
      .u32(36, pdu.data_sn)
      .u32(40, pdu.buffer_offset)
      .header();
}

Header encode(const LogoutRequest& pdu) {
  return HeaderWriter(0x06 | kImmediate, static_cast<std::uint8_t>(kFinal | pdu.reason)).u32(16, pdu.itt).u16(20, pdu.cid).u32(24, pdu.cmd_sn).u32(28, pdu.exp_stat_sn).header();
}

Lengths decode_lengths(ByteSpan header) { return {static_cast<std::uint32_t>(header[4]) * 4, load_be24(&header[5])}; }

Result<TargetPdu> decode_target_pdu(ByteSpan header) {
  if (header.size() != kHeaderSize) return fail(FaultKind::malformed, "iscsi.header-short", "an iSCSI header is 48 bytes");
  const auto u8 = [&](std::size_t at) { return static_cast<std::uint8_t>(header[at]); };
  const auto u16 = [&](std::size_t at) { return load_be<std::uint16_t>(&header[at]); };
  const auto u32 = [&](std::size_t at) { return load_be<std::uint32_t>(&header[at]); };
  const auto bit = [&](std::uint8_t mask) { return (u8(1) & mask) != 0; };
  const std::uint64_t lun = load_be<std::uint64_t>(&header[8]);
  const std::uint32_t itt = u32(16);
  const Window window{u32(24), u32(28), u32(32)};

  switch (u8(0) & 0x3f) {
    case 0x20: return NopIn{lun, itt, u32(20), window};
    case 0x21: return ScsiResponse{bit(0x04), bit(0x02), u8(2), u8(3), itt, window, u32(44)};
    case 0x22: return TaskManagementResponse{u8(2), itt, window};
    case 0x23: {
      LoginResponse pdu{bit(0x80), bit(kContinue), static_cast<Stage>(u8(1) >> 2 & 3), static_cast<Stage>(u8(1) & 3), u8(3), {}, u16(14), itt, window, u8(36), u8(37)};
      std::ranges::copy(header.subspan(8, 6), pdu.isid.begin());
      return pdu;
    }
    case 0x24: return TextResponse{bit(kFinal), bit(kContinue), itt, u32(20), window};
    case 0x25: return DataIn{bit(kFinal), bit(0x40), bit(0x04), bit(0x02), bit(0x01), u8(3), itt, u32(20), window, u32(36), u32(40), u32(44)};
    case 0x26: return LogoutResponse{u8(2), itt, window};
    case 0x31: return ReadyToTransfer{lun, itt, u32(20), window, u32(36), u32(40), u32(44)};
    case 0x32: return AsyncMessage{u8(36), u16(38), u16(40), u16(42), window};
    case 0x3f: return Reject{u8(2), window};
    default:
      return std::unexpected(Fault{FaultKind::protocol, "iscsi.opcode-unknown", "the target sent an iSCSI opcode that no target sends", Retry::later, {}}.with("opcode", std::uint64_t{u8(0) & 0x3fu}));
  }
}

}  // namespace ironrack::iscsi
