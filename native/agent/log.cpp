#include "log.hpp"

#include "instant.hpp"

#include <cstdio>

namespace agent {

namespace {
constexpr std::size_t ring_bytes = 512 * 1024;
constexpr std::size_t longest_value = 1024;
}  // namespace

std::string quoted_for_log(std::string_view value)
{
    const bool cut = value.size() > longest_value;
    value = value.substr(0, longest_value);
    bool bare = !value.empty();
    for (const unsigned char c : value) {
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=') {
            bare = false;
        }
    }
    if (bare && !cut) {
        return std::string(value);
    }
    std::string out = "\"";
    for (const unsigned char c : value) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else if (c == '\n') {
            out += "\\n";
        } else if (c < 0x20 || c == 0x7f) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\x%02x", c);
            out += escape;
        } else {
            out += static_cast<char>(c);
        }
    }
    out += cut ? "…\"" : "\"";
    return out;
}

void Log::debug(std::string_view event, Fields fields)
{
    if (debug_) {
        write("debug", event, fields);
    }
}

void Log::write(std::string_view level, std::string_view event, Fields fields)
{
    std::string line = now_as_text();
    line.append(" ").append(level).append(" ").append(event);
    for (const LogField& field : fields) {
        line.append(" ").append(field.name).append("=").append(quoted_for_log(field.value));
    }
    line += '\n';

    const std::scoped_lock lock(mutex_);
    std::fwrite(line.data(), 1, line.size(), stderr);
    bytes_ += line.size();
    lines_.push_back(std::move(line));
    while (bytes_ > ring_bytes) {
        bytes_ -= lines_.front().size();
        lines_.pop_front();
    }
}

std::string Log::text() const
{
    const std::scoped_lock lock(mutex_);
    std::string out;
    out.reserve(bytes_);
    for (const std::string& line : lines_) {
        out += line;
    }
    return out;
}

}  // namespace agent
