#include "inventory.hpp"

#include "../root_device.hpp"
#include "bmc.hpp"
#include "boot.hpp"
#include "cpu.hpp"
#include "disks.hpp"
#include "interfaces.hpp"
#include "lldp.hpp"
#include "memory.hpp"
#include "system_vendor.hpp"

#include <array>
#include <unistd.h>

namespace agent {

Json collect_inventory(const Machine& machine, const KernelCommandLine& command_line)
{
    Json interfaces = Json::array();
    for (const Interface& interface : collect_interfaces(machine)) {
        interfaces.push_back(interface_as_json(interface));
    }
    Json disks = Json::array();
    for (const Disk& disk : collect_disks(machine)) {
        disks.push_back(disk_as_json(disk));
    }
    std::array<char, 256> hostname{};
    ::gethostname(hostname.data(), hostname.size() - 1);

    Json inventory = {
        {"interfaces", std::move(interfaces)},
        {"cpu", collect_cpu(machine)},
        {"disks", std::move(disks)},
        {"memory", collect_memory(machine)},
        {"system_vendor", collect_system_vendor(machine)},
        {"boot", collect_boot(machine, command_line)},
        {"hostname", hostname.data()},
    };
    inventory.update(collect_bmc(machine));
    return inventory;
}

namespace {

// Puts what the switches announce into the inventory's interfaces, and by name into the rest of the inspection.
void add_lldp(Json& inspection, const KernelCommandLine& command_line, const std::stop_token& stop)
{
    std::vector<std::string> listening;
    for (const Json& interface : inspection["inventory"]["interfaces"]) {
        if (interface["has_carrier"].get<bool>()) {
            listening.push_back(interface["name"].get<std::string>());
        }
    }
    const int seconds = command_line.number("ipa-lldp-timeout", 30, 1, 300);
    const auto heard = collect_lldp(listening, std::chrono::seconds(seconds), stop);
    inspection["lldp_raw"] = heard;
    for (Json& interface : inspection["inventory"]["interfaces"]) {
        if (const auto at = heard.find(interface["name"].get<std::string>()); at != heard.end()) {
            interface["lldp"] = at->second;
        }
    }
}

}  // namespace

Json collect_inspection(const Machine& machine, const KernelCommandLine& command_line, const std::stop_token& stop)
{
    Json inspection = {
        {"inventory", collect_inventory(machine, command_line)},
        {"root_disk", nullptr},
        {"boot_interface", nullptr},
        {"configuration", {{"collectors", {"default"}}, {"managers", {{{"name", "ironrack"}, {"version", "1"}}}}}},
    };
    if (const auto root = choose_root_device(collect_disks(machine), Json::object())) {
        inspection["root_disk"] = disk_as_json(*root);
    }
    // In pxelinux's form, hardware type first, as IPA hands on what the boot loader wrote.
    if (auto mac = parse_mac_address(command_line.value_of("BOOTIF").value_or(""))) {
        for (char& c : *mac) {
            c = c == ':' ? '-' : c;
        }
        inspection["boot_interface"] = "01-" + *mac;
    }
    if (command_line.flag("ipa-collect-lldp")) {
        add_lldp(inspection, command_line, stop);
    }
    return inspection;
}

}  // namespace agent
