#include "kernel_command_line.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace agent {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '\0'; }

std::string without_quotes(std::string_view text)
{
    std::string out;
    std::ranges::copy_if(text, std::back_inserter(out), [](char c) { return c != '"'; });
    return out;
}

std::string canonical(std::string_view name)
{
    std::string out(name);
    std::ranges::replace(out, '_', '-');
    return out;
}

}  // namespace

KernelCommandLine KernelCommandLine::parse(std::string_view text)
{
    KernelCommandLine line;
    std::size_t at = 0;
    while (at < text.size()) {
        if (is_blank(text[at])) {
            ++at;
            continue;
        }
        const std::size_t start = at;
        std::size_t equals = std::string_view::npos;
        bool quoted = false;
        for (; at < text.size() && (quoted || !is_blank(text[at])); ++at) {
            if (text[at] == '"') {
                quoted = !quoted;
            } else if (text[at] == '=' && equals == std::string_view::npos) {
                equals = at;
            }
        }
        const bool has_value = equals != std::string_view::npos;
        line.parameters_.push_back({
            .name = canonical(without_quotes(text.substr(start, (has_value ? equals : at) - start))),
            .value = has_value ? without_quotes(text.substr(equals + 1, at - equals - 1)) : "",
            .has_value = has_value,
        });
    }
    return line;
}

std::optional<std::string> KernelCommandLine::value_of(std::string_view name) const
{
    const std::string wanted = canonical(name);
    for (auto at = parameters_.rbegin(); at != parameters_.rend(); ++at) {
        if (at->name == wanted && at->has_value) {
            return at->value;
        }
    }
    return std::nullopt;
}

int KernelCommandLine::number(std::string_view name, int otherwise, int least, int most) const
{
    const std::string text = value_of(name).value_or("");
    int value = otherwise;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return std::clamp(value, least, most);
}

bool KernelCommandLine::flag(std::string_view name) const
{
    const std::string wanted = canonical(name);
    for (auto at = parameters_.rbegin(); at != parameters_.rend(); ++at) {
        if (at->name == wanted) {
            return !at->has_value || at->value == "1" || at->value == "true" || at->value == "yes" || at->value == "on";
        }
    }
    return false;
}

std::optional<std::string> parse_mac_address(std::string_view text)
{
    // Six or, with the hardware type in front, seven octets, one separator throughout.
    if (text.size() == 20 && (text.starts_with("01-") || text.starts_with("01:"))) {
        text.remove_prefix(3);
    }
    if (text.size() != 17 || (text[2] != ':' && text[2] != '-')) {
        return std::nullopt;
    }
    std::string mac;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i % 3 == 2) {
            if (text[i] != text[2]) {
                return std::nullopt;
            }
            mac += ':';
        } else if (std::isxdigit(static_cast<unsigned char>(text[i])) != 0) {
            mac += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
        } else {
            return std::nullopt;
        }
    }
    return mac;
}

}  // namespace agent
