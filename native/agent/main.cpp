// ironrack-agent: the program of the ramdisk that acts on a machine for the appliance.
#include "file.hpp"
#include "kernel_command_line.hpp"
#include "life.hpp"
#include "log.hpp"
#include "machine.hpp"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

namespace {

constexpr const char* usage =
    "ironrack-agent: takes the inventory of this machine and carries out the appliance's commands on it.\n"
    "Everything it needs is on the kernel command line (ipa-api-url=…). Options, for tests on an ordinary machine:\n"
    "  --proc-cmdline FILE   read the kernel command line there (/proc/cmdline)\n"
    "  --sysfs DIR           (/sys)            --procfs DIR    (/proc)\n"
    "  --configfs DIR        (/sys/kernel/config)\n"
    "  --efivars DIR         (/sys/firmware/efi/efivars)\n"
    "  --ipmi-device FILE    (/dev/ipmi0)\n"
    "  --disk PATH           this file or device is a disk, and only those named are; may be repeated\n"
    "  --listen ADDR:PORT    (every address, port 9999; port 0: any)\n"
    "  --power-file FILE     write power actions there and do not carry them out\n"
    "  --sfdisk PROGRAM      (sfdisk, from PATH)\n"
    "  --kept-state FILE     what a restarted agent needs (/run/ironrack-agent/state)\n"
    "  --debug\n";

struct Options {
    agent::Machine machine;
    std::string proc_cmdline;
    agent::ListenAddress listen;
    bool debug = false;
};

bool parse_listen(std::string_view text, agent::ListenAddress& listen)
{
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return false;
    }
    std::string_view address = text.substr(0, colon);
    if (address.starts_with('[') && address.ends_with(']')) {
        address = address.substr(1, address.size() - 2);
    }
    listen.address = address;
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), listen.port);
    return error == std::errc() && end == port.data() + port.size();
}

// False, with a message on stderr, for what is no option.
bool parse_options(int argc, char** argv, Options& options)
{
    struct TextOption {
        const char* name;
        std::string& value;
    };
    const TextOption texts[] = {
        {"--proc-cmdline", options.proc_cmdline},      {"--sysfs", options.machine.sysfs},           {"--procfs", options.machine.procfs},
        {"--configfs", options.machine.configfs},      {"--efivars", options.machine.efivars},       {"--ipmi-device", options.machine.ipmi_device},
        {"--power-file", options.machine.power_file},  {"--sfdisk", options.machine.sfdisk},
        {"--kept-state", options.machine.kept_state},
    };
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--debug") {
            options.debug = true;
            continue;
        }
        if (i + 1 == argc) {
            std::fprintf(stderr, "%s\n%s", argv[i], usage);
            return false;
        }
        const char* value = argv[++i];
        bool known = false;
        for (const TextOption& text : texts) {
            if (name == text.name) {
                text.value = value;
                known = true;
            }
        }
        if (name == "--disk") {
            options.machine.disks.emplace_back(value);
            known = true;
        } else if (name == "--listen") {
            known = parse_listen(value, options.listen);
        }
        if (!known) {
            std::fprintf(stderr, "not understood: %s %s\n%s", argv[i - 1], value, usage);
            return false;
        }
    }
    return true;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "--version") == 0)) {
        std::printf("%s\n", std::strcmp(argv[1], "--help") == 0 ? usage : agent::agent_version);
        return 0;
    }
    Options options;
    if (!parse_options(argc, argv, options)) {
        return 2;
    }
    // Every thread inherits the mask, so that one place hears the signals.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGPIPE, SIG_IGN);

    const std::string path = options.proc_cmdline.empty() ? options.machine.procfs + "/cmdline" : options.proc_cmdline;
    const auto command_line = agent::KernelCommandLine::parse(agent::read_file(path).value_or(""));
    agent::Log log(options.debug || command_line.flag("ipa-debug"));

    std::stop_source stop;
    std::jthread listener([&](const std::stop_token& ended) {
        while (!ended.stop_requested()) {
            const timespec step{.tv_sec = 0, .tv_nsec = 200'000'000};
            if (const int signal = ::sigtimedwait(&signals, nullptr, &step); signal > 0) {
                log.info("agent.signal", {{"signal", signal}});
                stop.request_stop();
            }
        }
    });
    agent::Life life(options.machine, command_line, options.listen, log);
    const auto lived = life.run(stop.get_token());
    if (!lived) {
        log.error("agent.cannot-run", {{"reason", lived.error().message}});
        return 1;
    }
    return 0;
}
