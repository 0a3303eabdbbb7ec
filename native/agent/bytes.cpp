#include "bytes.hpp"

#include <string_view>

namespace agent {

namespace {

constexpr char32_t replacement = 0xfffd;

void append_utf8(std::string& out, char32_t c)
{
    const auto push = [&](char32_t byte) { out += static_cast<char>(byte); };
    if (c < 0x80) {
        push(c);
    } else if (c < 0x800) {
        push(0xc0 | (c >> 6));
        push(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        push(0xe0 | (c >> 12));
        push(0x80 | ((c >> 6) & 0x3f));
        push(0x80 | (c & 0x3f));
    } else {
        push(0xf0 | (c >> 18));
        push(0x80 | ((c >> 12) & 0x3f));
        push(0x80 | ((c >> 6) & 0x3f));
        push(0x80 | (c & 0x3f));
    }
}

}  // namespace

std::string hexadecimal(std::span<const std::uint8_t> bytes)
{
    constexpr const char* digits = "0123456789abcdef";
    std::string out;
    for (const std::uint8_t byte : bytes) {
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
    return out;
}

std::string from_utf16(std::span<const std::uint8_t> bytes)
{
    std::string out;
    for (std::size_t i = 0; i + 2 <= bytes.size(); i += 2) {
        char32_t c = little_endian<std::uint16_t>(bytes, i);
        if (c == 0) {
            break;
        }
        if (c >= 0xd800 && c < 0xe000) {
            const char32_t low = i + 4 <= bytes.size() ? little_endian<std::uint16_t>(bytes, i + 2) : 0;
            if (c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            } else {
                c = replacement;
            }
        }
        append_utf8(out, c);
    }
    return out;
}

Bytes to_utf16(std::string_view text)
{
    Bytes out;
    for (std::size_t i = 0; i < text.size();) {
        const auto first = static_cast<unsigned char>(text[i]);
        const std::size_t length = first < 0x80 ? 1 : first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xc2 && first < 0xe0 ? 2 : 0;
        char32_t c = length == 0 || i + length > text.size() ? replacement : length == 1 ? first : first & (0xff >> (length + 1));
        std::size_t used = 1;
        for (; c != replacement && used < length; ++used) {
            const auto next = static_cast<unsigned char>(text[i + used]);
            c = (next & 0xc0) == 0x80 ? (c << 6) | (next & 0x3f) : replacement;
        }
        i += c == replacement ? 1 : used;
        if (c >= 0x110000 || (c >= 0xd800 && c < 0xe000)) {
            c = replacement;
        }
        if (c < 0x10000) {
            append_little_endian(out, static_cast<std::uint16_t>(c));
        } else {
            append_little_endian(out, static_cast<std::uint16_t>(0xd800 + ((c - 0x10000) >> 10)));
            append_little_endian(out, static_cast<std::uint16_t>(0xdc00 + ((c - 0x10000) & 0x3ff)));
        }
    }
    return out;
}

}  // namespace agent
