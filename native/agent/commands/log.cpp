#include "../base64.hpp"
#include "../gzip.hpp"
#include "../tar_archive.hpp"
#include "commands.hpp"

#include <algorithm>
#include <sys/klog.h>

namespace agent {

namespace {

// The kernel's ring, as dmesg prints it raw.
std::string kernel_log()
{
    constexpr int read_all = 3;     // SYSLOG_ACTION_READ_ALL, syslog(2)
    constexpr int buffer_size = 10;  // SYSLOG_ACTION_SIZE_BUFFER
    const int size = ::klogctl(buffer_size, nullptr, 0);
    if (size <= 0) {
        return "the kernel's log cannot be read\n";
    }
    std::string text(static_cast<std::size_t>(size), '\0');
    const int got = ::klogctl(read_all, text.data(), size);
    text.resize(static_cast<std::size_t>(std::max(got, 0)));
    return text;
}

}  // namespace

Result<CommandJob> prepare_collect_system_logs(const Json&)
{
    return [](CommandContext& context) -> Result<Json> {
        TarArchive archive;
        archive.add("dmesg", kernel_log());
        archive.add("agent.log", context.log.text());
        const auto packed = gzip(std::move(archive).finish());
        if (!packed) {
            return std::unexpected(packed.error());
        }
        return Json{{"system_logs", encode_base64(*packed)}};
    };
}

}  // namespace agent
