// key=value text of RFC 7143 §6.1: pairs, each ended by a NUL.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"

namespace ironrack::iscsi {

/// Pairs in the order they came; keys may repeat only in SendTargets' answer.
class TextKeys {
 public:
  TextKeys& set(std::string key, std::string value) {
    pairs_.emplace_back(std::move(key), std::move(value));
    return *this;
  }
  [[nodiscard]] const std::string* find(std::string_view key) const;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }
  [[nodiscard]] bool empty() const { return pairs_.empty(); }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

Result<TextKeys> decode_text(ByteSpan bytes);
std::vector<std::byte> encode_text(const TextKeys& keys);

/// A number of RFC 7143 §6.1: decimal, or hexadecimal after 0x.
Result<std::uint64_t> parse_number(std::string_view key, std::string_view value);

/// A binary value of RFC 7143 §6.1: hexadecimal after 0x or base64 after 0b; at most `limit` bytes.
Result<std::vector<std::byte>> parse_binary(std::string_view key, std::string_view value, std::size_t limit);

}  // namespace ironrack::iscsi
