#include "cpu.hpp"

#include "../file.hpp"

#include <set>
#include <sstream>
#include <sys/utsname.h>

namespace agent {

Json collect_cpu(const Machine& machine)
{
    std::string model;
    std::string megahertz;
    std::string flags;
    std::set<std::string> sockets;
    int count = 0;

    std::istringstream lines(read_file(machine.procfs + "/cpuinfo", 16 * 1024 * 1024).value_or(""));
    for (std::string line; std::getline(lines, line);) {
        const auto colon = line.find(':');
        if (colon == std::string::npos) {
            continue;
        }
        const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
        const std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
        if (key == "processor") {
            ++count;
        } else if (key == "model name" && model.empty()) {
            model = value;
        } else if (key == "cpu MHz" && megahertz.empty()) {
            megahertz = value;
        } else if ((key == "flags" || key == "Features") && flags.empty()) {  // x86; Arm
            flags = value;
        } else if (key == "physical id") {
            sockets.insert(value);
        }
    }
    // The clock at this moment says little; the highest is what the machine has.
    if (const auto kilohertz = read_number_of(machine.sysfs + "/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")) {
        megahertz = std::to_string(*kilohertz / 1000);
    }
    Json flag_list = Json::array();
    std::istringstream words(flags);
    for (std::string flag; words >> flag;) {
        flag_list.push_back(flag);
    }
    utsname system{};
    ::uname(&system);
    return {
        {"model_name", model},
        {"frequency", megahertz},
        {"count", count},
        {"architecture", system.machine},
        {"flags", flag_list},
        {"socket_count", sockets.empty() ? 1 : static_cast<int>(sockets.size())},
    };
}

}  // namespace agent
