// The full-feature phase of RFC 7143 on one connection, as a machine without sockets: commands and PDUs go in, bytes to
// send and completions come out.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <vector>

#include "iscsi/framer.hpp"
#include "iscsi/login.hpp"
#include "iscsi/payload.hpp"
#include "iscsi/scsi.hpp"

namespace ironrack::iscsi {

struct Command {
  Cdb cdb{};
  Payload out;                 // data to the target
  std::span<std::byte> in;     // room for data from it
  std::uint64_t cookie = 0;    // comes back in the completion
};

struct Completion {
  std::uint64_t cookie = 0;
  std::uint8_t response = 0;  // not 0: the target could not execute the command, RFC 7143 §11.4.3
  ScsiStatus status = ScsiStatus::good;
  std::optional<Sense> sense;
  std::uint32_t received = 0;  // bytes now in Command::in
  std::uint32_t untaken = 0;   // bytes of Command::out that the target did not take
  bool aborted = false;        // by us, because it took too long
};

/// Some of what goes to the socket next: bytes of memory or of a file.
struct Segment {
  const std::byte* memory = nullptr;
  std::size_t length = 0;
  bool stays = false;  // memory that stays as it is until the command has ended: it need not be copied
  int file = -1;       // where memory is null
  std::uint64_t file_offset = 0;
};

struct Burst {
  std::size_t count = 0;  // of segments filled
  bool more = false;      // further output follows at once
};

class Session {
 public:
  static constexpr std::size_t kMostCommands = 128;

  Session(const Negotiated& negotiated, std::uint16_t lun, std::uint64_t now_ms);

  /// How many commands may be submitted now, by the target's window and by what still waits for the socket.
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] std::size_t outstanding() const { return outstanding_; }
  void submit(const Command& command, std::uint64_t now_ms);
  /// How much of a command's data the target takes before it has asked for any.
  [[nodiscard]] std::uint32_t unsolicited_bytes() const;

  /// Asks the target for a sign of life.
  void ping(std::uint64_t now_ms);
  void logout();
  /// Sends ABORT TASK for commands submitted at or before `submitted_ms`; each ends as aborted when the target says so, or as it ended
  /// meanwhile. True when there was one.
  bool abort_older_than(std::uint64_t submitted_ms, std::uint64_t now_ms);
  /// When the oldest ABORT TASK without an answer was sent.
  [[nodiscard]] std::optional<std::uint64_t> abort_asked_ms() const;

  /// A fault means that this connection is of no more use.
  Result<void> receive(const Frame& frame, std::uint64_t now_ms);
  std::vector<Completion> take_completions() { return std::exchange(completions_, {}); }

  [[nodiscard]] bool has_output() const { return !queue_.empty(); }
  [[nodiscard]] Burst next_burst(std::span<Segment> room) const;
  void sent(std::size_t count);

  /// The target wants the session to end (Async Message 1 to 5): by leave_by_ms() we log out, unless it drops us itself.
  [[nodiscard]] bool asked_to_leave() const { return leave_by_ms_.has_value(); }
  [[nodiscard]] std::uint64_t leave_by_ms() const { return leave_by_ms_.value_or(0); }
  [[nodiscard]] bool dropping() const { return dropping_; }
  /// How long the target wants us to wait before the next login.
  [[nodiscard]] std::uint64_t stay_away_ms() const { return stay_away_ms_; }
  [[nodiscard]] bool logging_out() const { return logging_out_; }
  [[nodiscard]] bool logged_out() const { return logged_out_; }
  [[nodiscard]] std::uint64_t heard_ms() const { return heard_ms_; }
  [[nodiscard]] std::optional<std::uint64_t> pinged_ms() const { return pinged_ms_; }

 private:
  struct Task {
    bool used = false;
    std::uint32_t generation = 0;
    Command command;
    std::uint32_t cmd_sn = 0;
    std::uint64_t submitted_ms = 0;
    std::optional<std::uint64_t> abort_asked_ms;
    std::uint32_t solicited = 0;     // next offset an R2T may ask for
    std::uint32_t r2t_sn = 0;
    std::uint32_t queued = 0;        // PDUs that still refer to the command's bytes
    bool answered = false;
    Completion completion;
  };

  struct OutPdu {
    std::array<std::byte, kHeaderSize + 4> head{};
    std::array<std::byte, 8> tail{};
    std::uint8_t head_length = 0;
    std::uint8_t tail_length = 0;
    std::uint32_t task = 0;     // index of the task whose payload it carries; kNoTask: none
    std::uint32_t offset = 0;   // within the payload
    std::uint32_t length = 0;
    [[nodiscard]] std::size_t size() const { return head_length + length + tail_length; }
  };

  void push(const Header& header, std::uint32_t task, std::uint32_t offset, std::uint32_t length);
  void push_data(std::uint32_t index, std::uint32_t ttt, std::uint32_t offset, std::uint32_t length);
  Task* find(std::uint32_t itt);
  std::uint32_t tag_of(std::uint32_t index) const;
  void complete_if_over(std::uint32_t index);
  void note_window(const Window& window, bool carries_status);

  Result<void> on(const NopIn& pdu, const Frame& frame);
  Result<void> on(const ScsiResponse& pdu, const Frame& frame);
  Result<void> on(const TaskManagementResponse& pdu, const Frame& frame);
  Result<void> on(const LoginResponse& pdu, const Frame& frame);
  Result<void> on(const TextResponse& pdu, const Frame& frame);
  Result<void> on(const DataIn& pdu, const Frame& frame);
  Result<void> on(const LogoutResponse& pdu, const Frame& frame);
  Result<void> on(const ReadyToTransfer& pdu, const Frame& frame);
  Result<void> on(const AsyncMessage& pdu, const Frame& frame);
  Result<void> on(const Reject& pdu, const Frame& frame);

  Negotiated negotiated_;
  std::uint64_t lun_;
  std::uint32_t cmd_sn_;
  std::uint32_t exp_stat_sn_;
  std::uint32_t max_cmd_sn_;
  std::uint32_t exp_cmd_sn_;
  std::vector<Task> tasks_;
  std::size_t outstanding_ = 0;
  std::deque<OutPdu> queue_;
  std::size_t queue_bytes_ = 0;
  std::size_t head_sent_ = 0;  // bytes of the first PDU that are gone
  std::vector<Completion> completions_;
  std::uint64_t heard_ms_;
  std::optional<std::uint64_t> pinged_ms_;
  std::uint32_t unsent_answers_ = 0;
  std::optional<std::uint64_t> leave_by_ms_;
  bool dropping_ = false;
  std::uint64_t stay_away_ms_ = 0;
  bool logging_out_ = false;
  bool logged_out_ = false;
};

}  // namespace ironrack::iscsi
