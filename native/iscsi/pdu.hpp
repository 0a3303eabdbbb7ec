// The PDUs of RFC 7143 §11 as structs: those an initiator sends encode to a 48-byte header, those it receives decode from one.
//
//   byte 0        1          2..3        4            5..7
//   +--+--------+----------+-----------+------------+-------------------+
//   |.I| opcode | F, flags | specific  | TotalAHS   | DataSegmentLength |
//   +--+--------+----------+-----------+------------+-------------------+
//   | 8..15  LUN or opcode-specific                                     |
//   | 16..19 Initiator Task Tag | 20..47 opcode-specific                |
//   +-------------------------------------------------------------------+
#pragma once

#include <array>
#include <variant>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"

namespace ironrack::iscsi {

inline constexpr std::size_t kHeaderSize = 48;
inline constexpr std::uint32_t kReservedTag = 0xffffffff;

using Header = std::array<std::byte, kHeaderSize>;
using Cdb = std::array<std::byte, 16>;
using Isid = std::array<std::byte, 6>;

/// Serial number arithmetic of RFC 1982 as RFC 7143 §4.2.2 asks: true when `a` is at or before `b`.
inline bool serial_le(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(b - a) >= 0; }

/// SAM-5 §4.7 as an eight-byte LUN: peripheral addressing below 256, flat space above.
std::uint64_t encode_lun(std::uint16_t lun);

// ---- sent ----

struct NopOut {
  std::uint64_t lun = 0;
  std::uint32_t itt = kReservedTag;
  std::uint32_t ttt = kReservedTag;
  std::uint32_t cmd_sn = 0;
  std::uint32_t exp_stat_sn = 0;
  std::uint32_t data_segment_length = 0;
};

struct ScsiCommand {
  bool final = true;
  bool read = false;
  bool write = false;
  std::uint64_t lun = 0;
  std::uint32_t itt = 0;
  std::uint32_t expected_data_transfer_length = 0;
  std::uint32_t cmd_sn = 0;
  std::uint32_t exp_stat_sn = 0;
  Cdb cdb{};
  std::uint32_t data_segment_length = 0;
};

enum class TaskFunction : std::uint8_t { abort_task = 1, abort_task_set = 2, logical_unit_reset = 5 };

struct TaskManagementRequest {
  TaskFunction function = TaskFunction::abort_task;
  std::uint64_t lun = 0;
  std::uint32_t itt = 0;
  std::uint32_t referenced_task_tag = kReservedTag;
  std::uint32_t cmd_sn = 0;
  std::uint32_t exp_stat_sn = 0;
  std::uint32_t ref_cmd_sn = 0;
};

enum class Stage : std::uint8_t { security = 0, operational = 1, full_feature = 3 };

struct LoginRequest {
  bool transit = false;
  bool cont = false;
  Stage current = Stage::security;
  Stage next = Stage::security;
  Isid isid{};
  std::uint16_t tsih = 0;
  std::uint32_t itt = 0;
  std::uint16_t cid = 0;
  std::uint32_t cmd_sn = 0;
  std::uint32_t exp_stat_sn = 0;
  std::uint32_t data_segment_length = 0;
};

struct TextRequest {
  bool final = true;
  std::uint32_t itt = 0;
  std::uint32_t ttt = kReservedTag;
  std::uint32_t cmd_sn = 0;
  std::uint32_t exp_stat_sn = 0;
  std::uint32_t data_segment_length = 0;
};

struct DataOut {
  bool final = false;
  std::uint64_t lun = 0;
  std::uint32_t itt = 0;
  std::uint32_t ttt = kReservedTag;
  std::uint32_t exp_stat_sn = 0;
  std::uint32_t data_sn = 0;
  std::uint32_t buffer_offset = 0;
  std::uint32_t data_segment_length = 0;
};

struct LogoutRequest {
  std::uint8_t reason = 0;  // 0 closes the session
  std::uint32_t itt = 0;
  std::uint16_t cid = 0;
  std::uint32_t cmd_sn = 0;
  std::uint32_t exp_stat_sn = 0;
};

Header encode(const NopOut&);
Header encode(const ScsiCommand&);
Header encode(const TaskManagementRequest&);
Header encode(const LoginRequest&);
Header encode(const TextRequest&);
Header encode(const DataOut&);
Header encode(const LogoutRequest&);

// ---- received; every one carries the command window ----

struct Window {
  std::uint32_t stat_sn = 0;
  std::uint32_t exp_cmd_sn = 0;
  std::uint32_t max_cmd_sn = 0;
};

struct NopIn {
  std::uint64_t lun = 0;
  std::uint32_t itt = 0;
  std::uint32_t ttt = 0;
  Window window;
};

struct ScsiResponse {
  bool overflow = false;
  bool underflow = false;
  std::uint8_t response = 0;
  std::uint8_t status = 0;
  std::uint32_t itt = 0;
  Window window;
  std::uint32_t residual_count = 0;
};

struct TaskManagementResponse {
  std::uint8_t response = 0;
  std::uint32_t itt = 0;
  Window window;
};

struct LoginResponse {
  bool transit = false;
  bool cont = false;
  Stage current = Stage::security;
  Stage next = Stage::security;
  std::uint8_t version_active = 0;
  Isid isid{};
  std::uint16_t tsih = 0;
  std::uint32_t itt = 0;
  Window window;
  std::uint8_t status_class = 0;
  std::uint8_t status_detail = 0;
};

struct TextResponse {
  bool final = false;
  bool cont = false;
  std::uint32_t itt = 0;
  std::uint32_t ttt = 0;
  Window window;
};

struct DataIn {
  bool final = false;
  bool acknowledge = false;
  bool overflow = false;
  bool underflow = false;
  bool has_status = false;
  std::uint8_t status = 0;
  std::uint32_t itt = 0;
  std::uint32_t ttt = 0;
  Window window;
  std::uint32_t data_sn = 0;
  std::uint32_t buffer_offset = 0;
  std::uint32_t residual_count = 0;
};

struct LogoutResponse {
  std::uint8_t response = 0;
  std::uint32_t itt = 0;
  Window window;
};

struct ReadyToTransfer {
  std::uint64_t lun = 0;
  std::uint32_t itt = 0;
  std::uint32_t ttt = 0;
  Window window;
  std::uint32_t r2t_sn = 0;
  std::uint32_t buffer_offset = 0;
  std::uint32_t desired_data_transfer_length = 0;
};

struct AsyncMessage {
  std::uint8_t event = 0;
  std::uint16_t parameter1 = 0;
  std::uint16_t parameter2 = 0;
  std::uint16_t parameter3 = 0;
  Window window;
};

struct Reject {
  std::uint8_t reason = 0;
  Window window;
};

using TargetPdu = std::variant<NopIn, ScsiResponse, TaskManagementResponse, LoginResponse, TextResponse, DataIn, LogoutResponse, ReadyToTransfer, AsyncMessage, Reject>;

/// Lengths that precede the rest of a PDU on the wire.
struct Lengths {
  std::uint32_t additional_header = 0;  // bytes, a multiple of four
  std::uint32_t data_segment = 0;       // bytes, without padding
};

Lengths decode_lengths(ByteSpan header);

/// Decodes the header of a PDU that a target may send; `header` is 48 bytes. An opcode that is not a target's is a protocol fault.
Result<TargetPdu> decode_target_pdu(ByteSpan header);

}  // namespace ironrack::iscsi
