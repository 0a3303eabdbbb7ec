#include "iscsi/text.hpp"

#include <algorithm>
#include <charconv>

namespace ironrack::iscsi {
namespace {

constexpr std::size_t kLongestKey = 63;  // RFC 7143 §6.1: key-name

Fault bad_value(std::string_view key, std::string_view what) {
  return Fault{FaultKind::malformed, "iscsi.text-value", "the target's " + std::string(key) + " is not " + std::string(what), Retry::never, {}}.with("key", std::string(key));
}

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

int base64_digit(char digit) {
  if (digit >= 'A' && digit <= 'Z') return digit - 'A';
  if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
  if (digit >= '0' && digit <= '9') return digit - '0' + 52;
  if (digit == '+') return 62;
  if (digit == '/') return 63;
  return -1;
}

}  // namespace

const std::string* TextKeys::find(std::string_view key) const {
  const auto at = std::ranges::find(pairs_, key, &std::pair<std::string, std::string>::first);
  return at == pairs_.end() ? nullptr : &at->second;
}

Result<TextKeys> decode_text(ByteSpan bytes) {
  TextKeys keys;
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!rest.empty()) {
    const auto end = rest.find('\0');
    const auto pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (pair.empty()) continue;  // padding; some targets also end with a second NUL
    const auto equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals > kLongestKey) {
      return fail(FaultKind::malformed, "iscsi.text-pair", "the target sent text that is not key=value");
    }
    keys.set(std::string(pair.substr(0, equals)), std::string(pair.substr(equals + 1)));
  }
  return keys;
}

std::vector<std::byte> encode_text(const TextKeys& keys) {
  std::vector<std::byte> bytes;
  const auto append = [&](std::string_view text) {
    for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
  };
  for (const auto& [key, value] : keys.pairs()) {
    append(key);
    append("=");
    append(value);
    bytes.push_back(std::byte{0});
  }
  return bytes;
}

Result<std::uint64_t> parse_number(std::string_view key, std::string_view value) {
  const bool hexadecimal = value.starts_with("0x") || value.starts_with("0X");
  const auto digits = hexadecimal ? value.substr(2) : value;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, hexadecimal ? 16 : 10);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::unexpected(bad_value(key, "a number"));
  return number;
}

Result<std::vector<std::byte>> parse_binary(std::string_view key, std::string_view value, std::size_t limit) {
  std::vector<std::byte> bytes;
  if (value.starts_with("0x") || value.starts_with("0X")) {
    auto digits = value.substr(2);
    if (digits.empty() || digits.size() > limit * 2) return std::unexpected(bad_value(key, "a binary value of the right length"));
    if (digits.size() % 2 != 0) {
      const int first = hex_digit(digits.front());
      if (first < 0) return std::unexpected(bad_value(key, "hexadecimal"));
      bytes.push_back(static_cast<std::byte>(first));
      digits.remove_prefix(1);
    }
    for (std::size_t i = 0; i < digits.size(); i += 2) {
      const int high = hex_digit(digits[i]);
      const int low = hex_digit(digits[i + 1]);
      if (high < 0 || low < 0) return std::unexpected(bad_value(key, "hexadecimal"));
      bytes.push_back(static_cast<std::byte>(high << 4 | low));
    }
    return bytes;
  }
  if (value.starts_with("0b") || value.starts_with("0B")) {
    auto digits = value.substr(2);
    while (digits.ends_with('=')) digits.remove_suffix(1);
    if (digits.empty() || digits.size() * 3 / 4 > limit) return std::unexpected(bad_value(key, "a binary value of the right length"));
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : digits) {
      const int six = base64_digit(c);
      if (six < 0) return std::unexpected(bad_value(key, "base64"));
      bits = bits << 6 | static_cast<std::uint32_t>(six);
      count += 6;
      if (count >= 8) {
        count -= 8;
        bytes.push_back(static_cast<std::byte>(bits >> count));
      }
    }
    return bytes;
  }
  return std::unexpected(bad_value(key, "a binary value"));
}

}  // namespace ironrack::iscsi
