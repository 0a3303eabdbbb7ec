#include "base64.hpp"

#include <array>

namespace agent {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> values = [] {
    std::array<std::int8_t, 256> table{};
    table.fill(-1);
    for (std::size_t i = 0; i < alphabet.size(); ++i) {
        table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
    }
    return table;
}();

}  // namespace

std::string encode_base64(std::span<const std::uint8_t> bytes)
{
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            group = group << 8 | (k < have ? bytes[i + k] : 0U);
        }
        for (std::size_t k = 0; k < 4; ++k) {
            out += k <= have ? alphabet[group >> (18 - 6 * k) & 63] : '=';
        }
    }
    return out;
}

Result<Bytes> decode_base64(std::string_view text)
{
    Bytes out;
    out.reserve(text.size() / 4 * 3);
    std::uint32_t group = 0;
    int characters = 0;
    int padding = 0;
    for (const char c : text) {
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t') {
            continue;
        }
        if (c == '=') {
            ++padding;
            continue;
        }
        const std::int8_t value = values[static_cast<unsigned char>(c)];
        if (value < 0 || padding > 0) {
            return fail(FaultKind::malformed, "not base64");
        }
        group = group << 6 | static_cast<std::uint32_t>(value);
        if (++characters == 4) {
            out.insert(out.end(), {static_cast<std::uint8_t>(group >> 16), static_cast<std::uint8_t>(group >> 8), static_cast<std::uint8_t>(group)});
            group = 0;
            characters = 0;
        }
    }
    // What is left of the last group decides the padding; its unused bits must be zero.
    if (characters == 1 || (padding > 0 && padding != (4 - characters) % 4)) {
        return fail(FaultKind::malformed, "base64 ends inside a group");
    }
    if (characters == 2) {
        out.push_back(static_cast<std::uint8_t>(group >> 4));
    } else if (characters == 3) {
        out.push_back(static_cast<std::uint8_t>(group >> 10));
        out.push_back(static_cast<std::uint8_t>(group >> 2));
    }
    if ((characters == 2 && (group & 15) != 0) || (characters == 3 && (group & 3) != 0)) {
        return fail(FaultKind::malformed, "base64 ends with bits to spare");
    }
    return out;
}

}  // namespace agent
