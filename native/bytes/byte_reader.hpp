// Reads big-endian fields from bytes that came from outside. A read past the end yields zero and marks the reader as
// short for good, so a decoder reads its whole structure and asks once.
#pragma once

#include "bytes/endian.hpp"

namespace ironrack {

class ByteReader {
 public:
  explicit ByteReader(ByteSpan bytes) : bytes_(bytes) {}

  std::uint8_t u8() { return take<std::uint8_t>(); }
  std::uint16_t u16() { return take<std::uint16_t>(); }
  std::uint32_t u32() { return take<std::uint32_t>(); }
  std::uint64_t u64() { return take<std::uint64_t>(); }

  ByteSpan bytes(std::size_t count) {
    if (count > remaining()) {
      short_ = true;
      at_ = bytes_.size();
      return {};
    }
    const auto out = bytes_.subspan(at_, count);
    at_ += count;
    return out;
  }

  void skip(std::size_t count) { (void)bytes(count); }
  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] std::size_t remaining() const { return bytes_.size() - at_; }
  /// True when every read so far was inside the bytes.
  [[nodiscard]] bool complete() const { return !short_; }

 private:
  template <std::unsigned_integral T>
  T take() {
    const auto field = bytes(sizeof(T));
    return field.empty() ? T{0} : load_be<T>(field.data());
  }

  ByteSpan bytes_;
  std::size_t at_ = 0;
  bool short_ = false;
};

}  // namespace ironrack
