// The packets of TFTP as far as a transfer's own port sees and makes them; requests and their options are
// src/protocol/tftp's. RFC 1350 §5.
//
//   DATA     | 03 | block (2) | up to blksize bytes |
//   ACK      | 04 | block (2) |
//   ERROR    | 05 | code (2)  | message | 0 |
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bytes/endian.hpp"

namespace ironrack::serve {

enum TftpOpcode : std::uint16_t { kRrq = 1, kWrq = 2, kData = 3, kAck = 4, kError = 5, kOack = 6 };

/// RFC 1350 §5, RFC 2347 (8).
enum TftpErrorCode : std::uint16_t { kNotDefined = 0, kIllegalOperation = 4, kOptionRefused = 8 };

constexpr std::size_t kDataHeader = 4;

/// The four bytes before a block's data.
inline void store_data_header(std::byte* to, std::uint64_t block) {
  store_be<std::uint16_t>(to, kData);
  store_be<std::uint16_t>(to + 2, static_cast<std::uint16_t>(block));
}

inline std::vector<std::byte> encode_error(std::uint16_t code, const std::string& message) {
  std::vector<std::byte> out(4 + message.size() + 1);
  store_be<std::uint16_t>(out.data(), kError);
  store_be<std::uint16_t>(out.data() + 2, code);
  std::memcpy(out.data() + 4, message.data(), message.size());
  return out;
}

/// The text is for people, and some clients forget its NUL.
inline std::string error_message(ByteSpan packet) {
  std::string text;
  for (const auto byte : packet.subspan(4)) {
    if (byte == std::byte{0} || text.size() == 200) break;
    text += static_cast<char>(byte);
  }
  return text;
}

}  // namespace ironrack::serve
