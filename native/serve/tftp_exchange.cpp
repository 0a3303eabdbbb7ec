#include "serve/tftp_exchange.hpp"

#include <algorithm>

#include "serve/tftp_packet.hpp"

namespace ironrack::serve {
namespace {

/// A client counts as lost after so many timeouts in a row, and not before so many seconds.
constexpr std::uint32_t kLeastTimeouts = 6;
constexpr std::uint32_t kLeastSilence = 30;
constexpr std::uint32_t kFirstTimeout = 1;
constexpr std::uint32_t kLongestTimeout = 8;

}  // namespace

TftpActions TftpExchange::start() {
  return phase_ == Phase::negotiating ? offer_terms() : send_window();
}

TftpActions TftpExchange::offer_terms() {
  TftpActions actions;
  actions.offer = true;
  actions.arm_s = patience();
  return actions;
}

/// The blocks that follow what is acknowledged, as many as a window holds.
TftpActions TftpExchange::send_window() {
  TftpActions actions;
  const std::uint64_t last = std::min(acknowledged_ + terms_.windowsize, blocks_);
  actions.first = acknowledged_ + 1;
  actions.count = last - acknowledged_;
  actions.arm_s = patience();
  sent_ = std::max(sent_, last);
  return actions;
}

std::uint32_t TftpExchange::patience() const {
  return terms_.timeout_s.value_or(std::min(kFirstTimeout << std::min(silent_, 8u), kLongestTimeout));
}

TftpActions TftpExchange::end(TftpResult result, std::optional<TftpError> tell) {
  phase_ = Phase::over;
  TftpActions actions;
  actions.error = std::move(tell);
  actions.done = std::move(result);
  return actions;
}

TftpActions TftpExchange::receive(ByteSpan packet) {
  if (phase_ == Phase::over) return {};
  const std::uint16_t opcode = packet.size() < 2 ? 0 : load_be<std::uint16_t>(packet.data());
  const bool whole = packet.size() >= 4;
  switch (opcode) {
    case kAck:
      // Some clients' ACKs carry bytes after the block; they mean nothing.
      if (!whole) break;
      return acknowledge(load_be<std::uint16_t>(packet.data() + 2));
    case kError: {
      if (!whole) break;
      const auto code = load_be<std::uint16_t>(packet.data() + 2);
      const bool declined = phase_ == Phase::negotiating || code == kOptionRefused;
      return end({declined ? TftpEnd::declined : TftpEnd::aborted, code, error_message(packet)});
    }
    case kRrq:
      // Sent again because our first answer is late or lost; the timeout repeats it.
      return {};
    case kWrq:
    case kData:
    case kOack: {
      const std::string message = std::string(opcode == kWrq ? "a WRQ" : opcode == kData ? "DATA" : "an OACK") + " does not belong into a read";
      return end({TftpEnd::aborted, kIllegalOperation, message}, TftpError{kIllegalOperation, message});
    }
    default: break;
  }
  malformed_++;
  return {};
}

TftpActions TftpExchange::acknowledge(std::uint16_t wire) {
  if (phase_ == Phase::negotiating) {
    if (wire != 0) return {};
    phase_ = Phase::sending;
    silent_ = silent_s_ = 0;
    return send_window();
  }
  const auto block = block_of(wire);
  if (!block) return {};
  if (*block == blocks_) {
    acknowledged_ = *block;
    return end({});
  }
  if (*block > acknowledged_) {
    // Short of the window's end: the client missed the next one, and the window begins after what it has (RFC 7440 §4).
    went_back_ = *block < sent_;
    acknowledged_ = *block;
    silent_ = silent_s_ = 0;
    return send_window();
  }
  // An ACK once more. To answer it with data would double every packet from here on (the Sorcerer's Apprentice, RFC 1123
  // §4.2.3.1). In a window it may also mean that the window's first block was lost: once per window that is believed.
  if (terms_.windowsize == 1 || went_back_) return {};
  went_back_ = true;
  return send_window();
}

std::optional<std::uint64_t> TftpExchange::block_of(std::uint16_t wire) const {
  const std::uint64_t block = acknowledged_ + static_cast<std::uint16_t>(wire - static_cast<std::uint16_t>(acknowledged_));
  if (block > sent_) return std::nullopt;
  return block;
}

TftpActions TftpExchange::timeout() {
  if (phase_ == Phase::over) return {};
  silent_s_ += patience();
  silent_++;
  if (silent_ >= kLeastTimeouts && silent_s_ >= kLeastSilence) {
    // Who has the last block may leave without telling (RFC 1350 §6).
    if (last_window()) return end({TftpEnd::lost, 0, "the last ACK did not come"});
    return end({TftpEnd::lost, 0, "no answer"}, TftpError{kNotDefined, "no answer"});
  }
  if (phase_ == Phase::negotiating) return offer_terms();
  went_back_ = false;
  return send_window();
}

TftpActions TftpExchange::refused() {
  if (phase_ == Phase::over) return {};
  return end({TftpEnd::lost, 0, last_window() ? "the last ACK did not come, and the client's port is closed" : "the client's port is closed"});
}

}  // namespace ironrack::serve
