#include "root_device.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <sstream>

namespace agent {

namespace {

constexpr std::uint64_t gibibyte = 1024ULL * 1024 * 1024;
constexpr std::uint64_t least_root_size = 4 * gibibyte;

std::string lower(std::string_view text)
{
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

std::string trimmed(std::string_view text)
{
    const auto first = text.find_first_not_of(" \t\r\n");
    return first == std::string_view::npos ? "" : std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

int hexadecimal_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Hints come URL-quoted where a client quoted their blanks: "Samsung%20SSD".
std::string unquoted(std::string_view text)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hexadecimal_digit(text[i + 1]) >= 0 && hexadecimal_digit(text[i + 2]) >= 0) {
            out += static_cast<char>(hexadecimal_digit(text[i + 1]) * 16 + hexadecimal_digit(text[i + 2]));
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

std::vector<std::string> words_of(const std::string& text)
{
    std::istringstream stream(text);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) {
        words.push_back(std::move(word));
    }
    return words;
}

// "<or> a b <or> c" → "a b", "c"; likewise "<all-in>".
std::vector<std::string> alternatives(const std::string& hint, std::string_view mark)
{
    std::vector<std::string> parts;
    std::size_t at = hint.find(mark);
    while (at != std::string::npos) {
        const std::size_t start = at + mark.size();
        at = hint.find(mark, start);
        parts.push_back(trimmed(std::string_view(hint).substr(start, at == std::string::npos ? std::string::npos : at - start)));
    }
    return parts;
}

Result<double> number_in(std::string_view text)
{
    const std::string digits = trimmed(text);
    double number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
        return fail(FaultKind::invalid, "root device hint: '" + digits.substr(0, 64) + "' is not a number");
    }
    return number;
}

// "<range-in> ( 10 20 ]" or "[10 20]": round brackets leave their end out.
Result<bool> number_in_range(double number, std::string_view text)
{
    const auto bad = [&] { return fail(FaultKind::invalid, "root device hint: a range is written '<range-in> [ 10 20 )'"); };
    const std::string range = trimmed(text);
    if (range.size() < 2 || (range.front() != '[' && range.front() != '(') || (range.back() != ']' && range.back() != ')')) {
        return bad();
    }
    const auto ends = words_of(range.substr(1, range.size() - 2));
    if (ends.size() != 2) {
        return bad();
    }
    const auto low = number_in(ends[0]);
    const auto high = number_in(ends[1]);
    if (!low || !high) {
        return bad();
    }
    return (range.front() == '[' ? number >= *low : number > *low) && (range.back() == ']' ? number <= *high : number < *high);
}

struct TextHint {
    std::string_view name;
    std::optional<std::string> Disk::*field;
};

constexpr TextHint text_hints[] = {
    {"model", &Disk::model},
    {"vendor", &Disk::vendor},
    {"serial", &Disk::serial},
    {"wwn", &Disk::wwn},
    {"wwn_with_extension", &Disk::wwn_with_extension},
    {"wwn_vendor_extension", &Disk::wwn_vendor_extension},
    {"hctl", &Disk::hctl},
    {"by_path", &Disk::by_path},
};

Result<std::string> hint_text(std::string_view name, const Json& value)
{
    if (value.is_string()) {
        return value.get<std::string>();
    }
    if (value.is_number() || value.is_boolean()) {
        return value.dump();
    }
    return fail(FaultKind::invalid, "root device hint '" + std::string(name) + "' must be a string, a number or a flag");
}

Result<bool> meets_one(const Disk& disk, const std::string& name, const Json& value)
{
    const auto hint = hint_text(name, value);
    if (!hint) {
        return std::unexpected(hint.error());
    }
    if (name == "name") {
        return text_meets_hint(disk.name, *hint);
    }
    if (name == "size") {
        return number_meets_hint(static_cast<double>(disk.size / gibibyte), *hint);  // whole GiB, as IPA counts them
    }
    if (name == "rotational") {
        const std::string flag = lower(trimmed(*hint));
        const bool yes = flag == "true" || flag == "1" || flag == "yes" || flag == "on" || flag == "t" || flag == "y";
        const bool no = flag == "false" || flag == "0" || flag == "no" || flag == "off" || flag == "f" || flag == "n";
        if (!yes && !no) {
            return fail(FaultKind::invalid, "root device hint 'rotational' must be true or false");
        }
        return disk.rotational == yes;
    }
    for (const TextHint& known : text_hints) {
        if (known.name == name) {
            const auto& text = disk.*known.field;
            if (!text) {
                // Still refuse a hint that cannot be read, whichever disk is looked at.
                const auto readable = text_meets_hint("", *hint);
                return readable ? Result<bool>(false) : readable;
            }
            return text_meets_hint(*text, *hint);
        }
    }
    return fail(FaultKind::invalid, "unknown root device hint '" + name.substr(0, 64) + "'");
}

}  // namespace

Result<bool> text_meets_hint(const std::string& raw, const std::string& quoted)
{
    const std::string text = lower(trimmed(raw));
    const std::string hint = lower(trimmed(unquoted(quoted)));
    const auto rest = [&](std::size_t skip) { return trimmed(std::string_view(hint).substr(skip)); };

    if (hint.starts_with("<or>")) {
        const auto choices = alternatives(hint, "<or>");
        return std::ranges::find(choices, text) != choices.end();
    }
    if (hint.starts_with("<all-in>")) {
        const auto parts = alternatives(hint, "<all-in>");
        return std::ranges::all_of(parts, [&](const std::string& part) { return text.find(part) != std::string::npos; });
    }
    if (hint.starts_with("<in>")) {
        return text.find(rest(4)) != std::string::npos;
    }
    if (hint.starts_with("s==")) {
        return text == rest(3);
    }
    if (hint.starts_with("s!=")) {
        return text != rest(3);
    }
    if (hint.starts_with("s<=")) {
        return text <= rest(3);
    }
    if (hint.starts_with("s>=")) {
        return text >= rest(3);
    }
    if (hint.starts_with("s<")) {
        return text < rest(2);
    }
    if (hint.starts_with("s>")) {
        return text > rest(2);
    }
    return text == hint;
}

Result<bool> number_meets_hint(double number, const std::string& quoted)
{
    const std::string hint = trimmed(unquoted(quoted));
    if (hint.starts_with("<range-in>")) {
        return number_in_range(number, std::string_view(hint).substr(10));
    }
    if (hint.starts_with("<or>")) {
        for (const std::string& choice : alternatives(hint, "<or>")) {
            const auto value = number_in(choice);
            if (!value) {
                return std::unexpected(value.error());
            }
            if (*value == number) {
                return true;
            }
        }
        return false;
    }
    constexpr std::string_view operators[] = {"<=", ">=", "==", "!=", "<", ">", "="};
    std::string_view operation = "==";
    std::string_view operand = hint;
    for (const std::string_view candidate : operators) {
        if (hint.starts_with(candidate)) {
            operation = candidate;
            operand.remove_prefix(candidate.size());
            break;
        }
    }
    const auto value = number_in(operand);
    if (!value) {
        return std::unexpected(value.error());
    }
    if (operation == "<=") {
        return number <= *value;
    }
    // Ironic's "=" on numbers means "at least", a legacy of Nova's flavor extra specs (oslo.utils specs_matcher).
    if (operation == ">=" || operation == "=") {
        return number >= *value;
    }
    if (operation == "!=") {
        return number != *value;
    }
    if (operation == "<") {
        return number < *value;
    }
    if (operation == ">") {
        return number > *value;
    }
    return number == *value;
}

Result<Disk> choose_root_device(const std::vector<Disk>& disks, const Json& hints)
{
    if (!hints.is_object()) {
        return fail(FaultKind::invalid, "root device hints must be an object");
    }
    if (hints.empty()) {
        const Disk* smallest = nullptr;
        for (const Disk& disk : disks) {
            if (disk.size >= least_root_size && !disk.is_usb() && !disk.read_only && (smallest == nullptr || disk.size < smallest->size)) {
                smallest = &disk;
            }
        }
        if (smallest == nullptr) {
            return fail(FaultKind::not_found, "no disk of at least 4 GiB among " + std::to_string(disks.size()));
        }
        return *smallest;
    }
    for (const Disk& disk : disks) {
        bool meets_all = true;
        for (const auto& [name, value] : hints.items()) {
            const auto meets = meets_one(disk, name, value);
            if (!meets) {
                return std::unexpected(meets.error());
            }
            meets_all = meets_all && *meets;
        }
        if (meets_all && !disk.read_only) {
            return disk;
        }
    }
    return fail(FaultKind::not_found, "no disk meets the root device hints " + dump_json(hints).substr(0, 512));
}

}  // namespace agent
