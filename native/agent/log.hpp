// One line per fact, on stderr (the serial console) and in a ring that log.collect_system_logs hands out.
#pragma once

#include <concepts>
#include <deque>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>

namespace agent {

struct LogField {
    std::string_view name;
    std::string value;

    LogField(std::string_view field, std::string text) : name(field), value(std::move(text)) {}
    LogField(std::string_view field, std::string_view text) : name(field), value(text) {}
    LogField(std::string_view field, const char* text) : name(field), value(text) {}
    template <std::integral T> LogField(std::string_view field, T number) : name(field), value(std::to_string(number)) {}
};

// Writes `TIME LEVEL EVENT name=value …`. Events are stable dotted ids. Values with blanks, quotes or control
// characters are quoted and escaped, so that no peer can forge a line. Safe to use from every thread.
class Log {
public:
    using Fields = std::initializer_list<LogField>;

    explicit Log(bool debug) : debug_(debug) {}

    void debug(std::string_view event, Fields fields = {});
    void info(std::string_view event, Fields fields = {}) { write("info", event, fields); }
    void warn(std::string_view event, Fields fields = {}) { write("warn", event, fields); }
    void error(std::string_view event, Fields fields = {}) { write("error", event, fields); }

    // The newest lines, oldest first, at most 512 KiB.
    std::string text() const;

private:
    void write(std::string_view level, std::string_view event, Fields fields);

    const bool debug_;
    mutable std::mutex mutex_;
    std::deque<std::string> lines_;
    std::size_t bytes_ = 0;
};

// The value as a log line shows it: bare where it can be, else in double quotes with escapes; cut at 1 KiB.
std::string quoted_for_log(std::string_view value);

}  // namespace agent
