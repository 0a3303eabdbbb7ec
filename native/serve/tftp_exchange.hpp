// A file on its way to one TFTP client, as a pure exchange: what arrived or did not → what to send and how long to wait.
// One machine for every window size; with a window of 1 it is RFC 1350's. Blocks are counted from 1 without end; the wire
// sees them modulo 65536. RFC 1350 §2, §6; RFC 2347; RFC 7440 §4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bytes/endian.hpp"

namespace ironrack::serve {

/// What a transfer runs with, as it was agreed.
struct TftpTerms {
  std::uint32_t blksize = 512;
  std::uint32_t windowsize = 1;
  /// Seconds until a packet is sent again; without it ours to choose.
  std::optional<std::uint32_t> timeout_s;
  /// An OACK has to be answered before data is sent.
  bool offered = false;
};

struct TftpError {
  std::uint16_t code = 0;
  std::string message;
};

enum class TftpEnd {
  complete,
  /// The client asked for the size only, or refused the terms; EDK2 and others begin so.
  declined,
  aborted,
  lost,
};

struct TftpResult {
  TftpEnd end = TftpEnd::complete;
  std::uint16_t code = 0;
  std::string message;
};

/// What is to be done now. Carried out in the order of the fields.
struct TftpActions {
  /// The OACK.
  bool offer = false;
  /// The blocks `first` to `first + count - 1`.
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::optional<TftpError> error;
  /// Instead of what was armed before.
  std::optional<std::uint32_t> arm_s;
  std::optional<TftpResult> done;
};

class TftpExchange {
 public:
  TftpExchange(std::uint64_t size, TftpTerms terms)
      : terms_(terms), size_(size), blocks_(size / terms.blksize + 1), phase_(terms.offered ? Phase::negotiating : Phase::sending) {}

  TftpActions start();
  /// What is no packet of TFTP changes nothing but the count of `malformed`.
  TftpActions receive(ByteSpan packet);
  TftpActions timeout();
  /// The client's host says that nobody listens on its port any more.
  TftpActions refused();
  /// Ended from outside.
  void close() { phase_ = Phase::over; }

  /// The number of blocks, the last of which is short, perhaps empty.
  [[nodiscard]] std::uint64_t blocks() const { return blocks_; }
  [[nodiscard]] std::uint64_t offset(std::uint64_t block) const { return (block - 1) * terms_.blksize; }
  [[nodiscard]] std::uint32_t length(std::uint64_t block) const {
    const std::uint64_t left = size_ - offset(block);
    return left < terms_.blksize ? static_cast<std::uint32_t>(left) : terms_.blksize;
  }
  [[nodiscard]] const TftpTerms& terms() const { return terms_; }
  [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }
  /// Whether the client has said anything after its request: who invented its address cannot.
  [[nodiscard]] bool answered() const { return phase_ == Phase::sending && (terms_.offered || acknowledged_ > 0); }
  [[nodiscard]] bool over() const { return phase_ == Phase::over; }
  [[nodiscard]] std::uint64_t malformed() const { return malformed_; }

 private:
  enum class Phase : std::uint8_t { negotiating, sending, over };

  TftpActions offer_terms();
  TftpActions send_window();
  TftpActions acknowledge(std::uint16_t wire);
  TftpActions end(TftpResult result, std::optional<TftpError> tell = std::nullopt);
  /// The block that a number on the wire means: one of those under way, or the last one acknowledged; else none.
  [[nodiscard]] std::optional<std::uint64_t> block_of(std::uint16_t wire) const;
  /// The client's own timeout as it asked; ours doubles.
  [[nodiscard]] std::uint32_t patience() const;
  [[nodiscard]] bool last_window() const { return sent_ == blocks_ && acknowledged_ + terms_.windowsize >= blocks_; }

  TftpTerms terms_;
  std::uint64_t size_;
  std::uint64_t blocks_;
  /// All blocks up to this one are acknowledged.
  std::uint64_t acknowledged_ = 0;
  /// All blocks up to this one were sent at least once.
  std::uint64_t sent_ = 0;
  std::uint64_t malformed_ = 0;
  /// Timeouts in a row without progress, and the seconds they took.
  std::uint32_t silent_ = 0;
  std::uint32_t silent_s_ = 0;
  Phase phase_;
  /// The window that follows `acknowledged_` was sent again because of an ACK, which is done once.
  bool went_back_ = false;
};

}  // namespace ironrack::serve
