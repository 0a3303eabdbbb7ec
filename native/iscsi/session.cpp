#include "iscsi/session.hpp"

#include <algorithm>
#include <cstring>

#include "bytes/crc32c.hpp"

namespace ironrack::iscsi {
namespace {

constexpr std::uint32_t kNoTask = 0xffffffff;
constexpr std::uint32_t kPingTag = 0x7f000001;
constexpr std::uint32_t kLogoutTag = 0x7f000002;
constexpr std::uint32_t kAbortBit = 0x20000000;  // of the tag of an ABORT TASK; the rest is the tag of its task
constexpr std::uint32_t kGenerations = 0x1fffff;
constexpr std::uint32_t kIndexBits = 8;
constexpr std::uint32_t kIndexMask = (1u << kIndexBits) - 1;
constexpr std::uint64_t kLeaveMs = 2000;          // for what is under way, when a target that wants us to leave names no time
constexpr std::uint64_t kMostStayAwayMs = 10000;
constexpr std::size_t kMostQueuedBytes = 1 << 20;  // beyond it new commands would only delay the answers to R2Ts
constexpr std::size_t kPagesLeast = 32768;  // of bytes that lie in memory: a copy of fewer is cheaper
constexpr std::size_t kBurstBytes = 1 << 20;
constexpr std::uint32_t kMostUnsentAnswers = 256;

constexpr std::byte kZeros[8]{};

Fault protocol_fault(std::string code, std::string message) { return Fault{FaultKind::protocol, std::move(code), std::move(message), Retry::later, {}}; }

void store_digest(std::byte* to, std::uint32_t digest) {
  if constexpr (std::endian::native == std::endian::big) digest = std::byteswap(digest);
  std::memcpy(to, &digest, sizeof digest);
}

}  // namespace

Session::Session(const Negotiated& negotiated, std::uint16_t lun, std::uint64_t now_ms)
    : negotiated_(negotiated),
      lun_(encode_lun(lun)),
      cmd_sn_(negotiated.cmd_sn),
      exp_stat_sn_(negotiated.window.stat_sn + 1),
      max_cmd_sn_(negotiated.window.max_cmd_sn),
      exp_cmd_sn_(negotiated.window.exp_cmd_sn),
      tasks_(kMostCommands),
      heard_ms_(now_ms) {}

std::uint32_t Session::tag_of(std::uint32_t index) const { return (tasks_[index].generation & kGenerations) << kIndexBits | index; }

Session::Task* Session::find(std::uint32_t itt) {
  const std::uint32_t index = itt & kIndexMask;
  if (index >= tasks_.size() || !tasks_[index].used || tag_of(index) != itt) return nullptr;
  return &tasks_[index];
}

std::size_t Session::room() const {
  if (logging_out_ || leave_by_ms_ || queue_bytes_ >= kMostQueuedBytes) return 0;
  if (!serial_le(cmd_sn_, max_cmd_sn_)) return 0;
  return std::min<std::size_t>(max_cmd_sn_ - cmd_sn_ + 1, tasks_.size() - outstanding_);
}

std::uint32_t Session::unsolicited_bytes() const {
  if (!negotiated_.initial_r2t) return negotiated_.first_burst_length;
  return negotiated_.immediate_data ? std::min(negotiated_.first_burst_length, negotiated_.max_recv_data_segment_length) : 0;
}

void Session::push(const Header& header, std::uint32_t task, std::uint32_t offset, std::uint32_t length) {
  auto& pdu = queue_.emplace_back();
  std::ranges::copy(header, pdu.head.begin());
  pdu.head_length = kHeaderSize;
  if (negotiated_.header_digest) {
    store_digest(&pdu.head[kHeaderSize], crc32c(0, ByteSpan(pdu.head).first(kHeaderSize)));
    pdu.head_length += 4;
  }
  pdu.task = task;
  pdu.offset = offset;
  pdu.length = length;
  pdu.tail_length = static_cast<std::uint8_t>(-length & 3);
  if (length > 0 && negotiated_.data_digest) {
    const auto padding = pdu.tail_length;
    const auto crc = crc32c(data_digest(tasks_[task].command.out, offset, length), ByteSpan(kZeros).first(padding));
    store_digest(&pdu.tail[padding], crc);
    pdu.tail_length += 4;
  }
  if (task != kNoTask) tasks_[task].queued++;
  queue_bytes_ += pdu.size();
}

void Session::push_data(std::uint32_t index, std::uint32_t ttt, std::uint32_t offset, std::uint32_t length) {
  DataOut pdu;
  pdu.lun = ttt == kReservedTag ? 0 : lun_;
  pdu.itt = tag_of(index);
  pdu.ttt = ttt;
  pdu.exp_stat_sn = exp_stat_sn_;
  while (length > 0) {
    const auto piece = std::min(length, negotiated_.max_recv_data_segment_length);
    pdu.final = piece == length;
    pdu.buffer_offset = offset;
    pdu.data_segment_length = piece;
    push(encode(pdu), index, offset, piece);
    pdu.data_sn++;
    offset += piece;
    length -= piece;
  }
}

void Session::submit(const Command& command, std::uint64_t now_ms) {
  const auto at = std::ranges::find(tasks_, false, &Task::used);
  const auto index = static_cast<std::uint32_t>(at - tasks_.begin());
  auto& task = *at;
  const auto generation = task.generation + 1;
  task = Task{};
  task.used = true;
  task.generation = generation;
  task.command = command;
  task.cmd_sn = cmd_sn_;
  task.submitted_ms = now_ms;
  task.completion.cookie = command.cookie;
  outstanding_++;

  const std::uint32_t length = command.out.length;
  const std::uint32_t unsolicited = std::min(length, unsolicited_bytes());
  const std::uint32_t immediate = negotiated_.immediate_data ? std::min(unsolicited, negotiated_.max_recv_data_segment_length) : 0;
  const std::uint32_t follows = unsolicited - immediate;

  ScsiCommand pdu;
  pdu.final = follows == 0;
  pdu.read = !command.in.empty();
  pdu.write = length > 0;
  pdu.lun = lun_;
  pdu.itt = tag_of(index);
  pdu.expected_data_transfer_length = length > 0 ? length : static_cast<std::uint32_t>(command.in.size());
  pdu.cmd_sn = cmd_sn_++;
  pdu.exp_stat_sn = exp_stat_sn_;
  pdu.cdb = command.cdb;
  pdu.data_segment_length = immediate;
  push(encode(pdu), index, 0, immediate);
  if (follows > 0) push_data(index, kReservedTag, immediate, follows);
  task.solicited = immediate + follows;
}

void Session::ping(std::uint64_t now_ms) {
  pinged_ms_ = now_ms;
  NopOut pdu;
  pdu.lun = lun_;
  pdu.itt = kPingTag;
  pdu.cmd_sn = cmd_sn_;
  pdu.exp_stat_sn = exp_stat_sn_;
  push(encode(pdu), kNoTask, 0, 0);
}

void Session::logout() {
  if (std::exchange(logging_out_, true)) return;
  LogoutRequest pdu;
  pdu.itt = kLogoutTag;
  pdu.cmd_sn = cmd_sn_;
  pdu.exp_stat_sn = exp_stat_sn_;
  push(encode(pdu), kNoTask, 0, 0);
}

void Session::note_window(const Window& window, bool carries_status) {
  // RFC 7143 §4.2.2.1: a MaxCmdSN below ExpCmdSN - 1 is ignored, and neither may go back.
  if (serial_le(window.exp_cmd_sn, window.max_cmd_sn + 1)) {
    if (serial_le(exp_cmd_sn_, window.exp_cmd_sn)) exp_cmd_sn_ = window.exp_cmd_sn;
    if (serial_le(max_cmd_sn_, window.max_cmd_sn)) max_cmd_sn_ = window.max_cmd_sn;
  }
  if (carries_status && serial_le(exp_stat_sn_, window.stat_sn)) exp_stat_sn_ = window.stat_sn + 1;
}

Result<void> Session::receive(const Frame& frame, std::uint64_t now_ms) {
  heard_ms_ = now_ms;
  auto pdu = decode_target_pdu(frame.header);
  if (!pdu) return std::unexpected(std::move(pdu.error()));
  return std::visit([&](const auto& message) { return on(message, frame); }, *pdu);
}

Result<void> Session::on(const NopIn& pdu, const Frame&) {
  // RFC 7143 §11.19: a NOP-In with a reserved ITT does not advance StatSN.
  note_window(pdu.window, pdu.itt != kReservedTag);
  if (pdu.itt == kPingTag) pinged_ms_.reset();
  if (pdu.ttt == kReservedTag) return {};
  if (++unsent_answers_ > kMostUnsentAnswers) return std::unexpected(protocol_fault("iscsi.nop-flood", "the target pings faster than it reads"));
  NopOut answer;
  answer.lun = pdu.lun;
  answer.ttt = pdu.ttt;
  answer.cmd_sn = cmd_sn_;
  answer.exp_stat_sn = exp_stat_sn_;
  push(encode(answer), kNoTask, 0, 0);
  return {};
}

Result<void> Session::on(const ScsiResponse& pdu, const Frame& frame) {
  note_window(pdu.window, true);
  auto* task = find(pdu.itt);
  if (task == nullptr || task->answered) return std::unexpected(protocol_fault("iscsi.tag-unknown", "the target answers a command that was not given"));
  task->answered = true;
  auto& completion = task->completion;
  completion.response = pdu.response;
  completion.status = static_cast<ScsiStatus>(pdu.status);
  if (pdu.underflow) completion.untaken = std::min(pdu.residual_count, task->command.out.length);
  if (frame.data.size() >= 2) {
    const std::size_t length = std::min<std::size_t>(load_be<std::uint16_t>(frame.data.data()), frame.data.size() - 2);
    if (auto sense = decode_sense(frame.data.subspan(2, length))) completion.sense = *sense;
  }
  complete_if_over(pdu.itt & kIndexMask);
  return {};
}

Result<void> Session::on(const DataIn& pdu, const Frame& frame) {
  note_window(pdu.window, pdu.has_status);
  auto* task = find(pdu.itt);
  if (task == nullptr || task->answered) return std::unexpected(protocol_fault("iscsi.tag-unknown", "the target sends data for a command that was not given"));
  auto& completion = task->completion;
  const auto room = task->command.in;
  // DataPDUInOrder=Yes: data comes at increasing offsets without gaps.
  if (pdu.buffer_offset != completion.received || frame.data.size() > room.size() - completion.received) {
    return std::unexpected(protocol_fault("iscsi.data-in-order", "the target sends data out of order or beyond what was asked"));
  }
  std::ranges::copy(frame.data, room.begin() + completion.received);
  completion.received += static_cast<std::uint32_t>(frame.data.size());
  if (pdu.has_status) {
    task->answered = true;
    completion.status = static_cast<ScsiStatus>(pdu.status);
    complete_if_over(pdu.itt & kIndexMask);
  }
  return {};
}

Result<void> Session::on(const ReadyToTransfer& pdu, const Frame&) {
  note_window(pdu.window, false);
  auto* task = find(pdu.itt);
  if (task == nullptr || task->answered) return std::unexpected(protocol_fault("iscsi.tag-unknown", "the target asks for data of a command that was not given"));
  const std::uint32_t length = pdu.desired_data_transfer_length;
  // DataSequenceInOrder=Yes and ErrorRecoveryLevel=0: every R2T begins where the last one ended.
  if (length == 0 || length > negotiated_.max_burst_length || pdu.buffer_offset != task->solicited || length > task->command.out.length - task->solicited || pdu.r2t_sn != task->r2t_sn) {
    return std::unexpected(protocol_fault("iscsi.r2t-range", "the target asks for data out of order or beyond the command's")
                               .with("offset", std::uint64_t{pdu.buffer_offset})
                               .with("length", std::uint64_t{length}));
  }
  task->r2t_sn++;
  task->solicited += length;
  push_data(pdu.itt & kIndexMask, pdu.ttt, pdu.buffer_offset, length);
  return {};
}

Result<void> Session::on(const TaskManagementResponse& pdu, const Frame&) {
  note_window(pdu.window, true);
  if ((pdu.itt & ~(kAbortBit | (kAbortBit - 1))) != 0 || (pdu.itt & kAbortBit) == 0) return std::unexpected(protocol_fault("iscsi.tag-unknown", "the target answers a request that was not made"));
  auto* task = find(pdu.itt & ~kAbortBit);
  if (task == nullptr || task->answered) return {};  // it ended by itself meanwhile
  // RFC 7143 §11.6.1: 0 is done, 1 is that there is no such task: after either, nothing more comes for it.
  if (pdu.response > 1) return std::unexpected(protocol_fault("iscsi.abort-refused", "the target does not abort a command that takes too long").with("response", std::uint64_t{pdu.response}));
  task->answered = true;
  task->completion.aborted = true;
  task->completion.status = ScsiStatus::task_aborted;
  complete_if_over(pdu.itt & kIndexMask);
  return {};
}

Result<void> Session::on(const LoginResponse&, const Frame&) { return std::unexpected(protocol_fault("iscsi.login-late", "the target sends a login response after the login")); }

Result<void> Session::on(const TextResponse& pdu, const Frame&) {
  note_window(pdu.window, true);
  return std::unexpected(protocol_fault("iscsi.text-unasked", "the target sends text that was not asked for"));
}

Result<void> Session::on(const LogoutResponse& pdu, const Frame&) {
  note_window(pdu.window, true);
  logged_out_ = true;
  return {};
}

Result<void> Session::on(const AsyncMessage& pdu, const Frame&) {
  note_window(pdu.window, true);
  // RFC 7143 §11.9: 0 is a SCSI event, which the next command reports as a unit attention; 1 asks for a logout within Parameter3 seconds;
  // 2 and 3 announce that the target drops us, who stay away for Parameter2 seconds; 4 asks for a negotiation, of which we have nothing
  // to offer; 5 is for initiators that negotiated TaskReporting; 255 is the vendor's own.
  if (pdu.event < 1 || pdu.event > 5) return {};
  if (!leave_by_ms_) leave_by_ms_ = heard_ms_ + (pdu.event == 1 && pdu.parameter3 > 0 ? std::uint64_t{pdu.parameter3} * 1000 : kLeaveMs);
  if (pdu.event == 2 || pdu.event == 3) {
    dropping_ = true;
    stay_away_ms_ = std::min<std::uint64_t>(std::uint64_t{pdu.parameter2} * 1000, kMostStayAwayMs);
  }
  return {};
}

Result<void> Session::on(const Reject& pdu, const Frame& frame) {
  note_window(pdu.window, true);
  Fault fault = protocol_fault("iscsi.rejected", "the target rejects a PDU of ours").with("reason", std::uint64_t{pdu.reason});
  if (frame.data.size() >= kHeaderSize) {
    const auto opcode = static_cast<std::uint8_t>(frame.data[0]) & 0x3f;
    fault.detail.emplace_back("opcode", std::uint64_t{static_cast<unsigned>(opcode)});
    // A rejected ping or pong concerns nobody.
    if (opcode == 0x00) {
      pinged_ms_.reset();
      return {};
    }
  }
  return std::unexpected(std::move(fault));
}

void Session::complete_if_over(std::uint32_t index) {
  auto& task = tasks_[index];
  // A target may answer early; the command's bytes are then still on their way out and must stay where they are.
  if (!task.used || !task.answered || task.queued > 0) return;
  task.used = false;
  outstanding_--;
  completions_.push_back(task.completion);
}

bool Session::abort_older_than(std::uint64_t submitted_ms, std::uint64_t now_ms) {
  bool any = false;
  for (std::uint32_t index = 0; index < tasks_.size(); index++) {
    auto& task = tasks_[index];
    if (!task.used || task.answered || task.abort_asked_ms || task.submitted_ms > submitted_ms) continue;
    task.abort_asked_ms = now_ms;
    any = true;
    TaskManagementRequest pdu;
    pdu.lun = lun_;
    pdu.itt = kAbortBit | tag_of(index);
    pdu.referenced_task_tag = tag_of(index);
    pdu.cmd_sn = cmd_sn_;
    pdu.exp_stat_sn = exp_stat_sn_;
    pdu.ref_cmd_sn = task.cmd_sn;
    push(encode(pdu), kNoTask, 0, 0);
  }
  return any;
}

std::optional<std::uint64_t> Session::abort_asked_ms() const {
  std::optional<std::uint64_t> oldest;
  for (const auto& task : tasks_) {
    if (task.used && !task.answered && task.abort_asked_ms && (!oldest || *task.abort_asked_ms < *oldest)) oldest = task.abort_asked_ms;
  }
  return oldest;
}

Burst Session::next_burst(std::span<Segment> room) const {
  Burst burst;
  std::size_t bytes = 0;
  std::size_t skip = head_sent_;
  const auto full = [&] { return burst.count + 3 > room.size() || bytes >= kBurstBytes; };
  const auto put = [&](const Segment& segment) {
    room[burst.count++] = segment;
    bytes += segment.length;
  };
  for (const auto& pdu : queue_) {
    if (full()) {
      burst.more = true;
      return burst;
    }
    if (skip < pdu.head_length) {
      put({.memory = pdu.head.data() + skip, .length = pdu.head_length - skip});
      skip = 0;
    } else {
      skip -= pdu.head_length;
    }
    if (skip < pdu.length) {
      const auto& payload = tasks_[pdu.task].command.out;
      std::uint32_t at = payload.begin + pdu.offset + static_cast<std::uint32_t>(skip);
      std::uint32_t left = pdu.length - static_cast<std::uint32_t>(skip);
      skip = 0;
      if (payload.memory != nullptr) {
        put({.memory = payload.memory + at, .length = left, .stays = left >= kPagesLeast});
        left = 0;
      }
      for (auto part = payload.parts.begin(); left > 0 && part != payload.parts.end(); part++) {
        if (at >= part->length) {
          at -= part->length;
          continue;
        }
        if (full()) {
          burst.more = true;
          return burst;
        }
        const auto piece = std::min(left, part->length - at);
        put({.length = piece, .file = payload.file, .file_offset = part->file_offset + at});
        left -= piece;
        at = 0;
      }
    } else {
      skip -= pdu.length;
    }
    if (skip < pdu.tail_length) put({.memory = pdu.tail.data() + skip, .length = pdu.tail_length - skip});
    skip = 0;
  }
  return burst;
}

void Session::sent(std::size_t count) {
  head_sent_ += count;
  queue_bytes_ -= std::min(queue_bytes_, count);
  while (!queue_.empty() && head_sent_ >= queue_.front().size()) {
    const auto& pdu = queue_.front();
    head_sent_ -= pdu.size();
    const auto task = pdu.task;
    queue_.pop_front();
    if (task != kNoTask) {
      tasks_[task].queued--;
      complete_if_over(task);
    } else {
      unsent_answers_ -= std::min(unsent_answers_, 1u);
    }
  }
}

}  // namespace ironrack::iscsi
