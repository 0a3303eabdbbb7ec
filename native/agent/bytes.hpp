// Numbers in the byte orders of on-disk structures, out of spans whose ends are checked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace agent {

using Bytes = std::vector<std::uint8_t>;

// The caller has compared offset and size before.
template <class T> T little_endian(std::span<const std::uint8_t> bytes, std::size_t offset)
{
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value |= static_cast<T>(static_cast<T>(bytes[offset + i]) << (8 * i));
    }
    return value;
}

template <class T> void append_little_endian(Bytes& out, T value)
{
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

// "0f1e…" in lower case.
std::string hexadecimal(std::span<const std::uint8_t> bytes);

// UTF-16LE to UTF-8 up to the first NUL; lone surrogates become U+FFFD.
std::string from_utf16(std::span<const std::uint8_t> bytes);
// UTF-8 to UTF-16LE without a NUL; broken UTF-8 becomes U+FFFD.
Bytes to_utf16(std::string_view text);

}  // namespace agent
