// The network interfaces of this machine.
#pragma once

#include "../json_reader.hpp"
#include "../machine.hpp"

#include <optional>
#include <string>
#include <vector>

namespace agent {

struct Interface {
    std::string name;
    std::string mac_address;  // lower case, with colons
    std::optional<std::string> ipv4_address;
    std::optional<std::string> ipv6_address;  // global before link-local
    bool has_carrier = false;
    std::optional<std::string> vendor;   // PCI ids: "0x1af4"
    std::optional<std::string> product;
    std::optional<std::string> pci_address;
    std::optional<std::string> driver;
    std::optional<std::int64_t> speed_mbps;
};

// Ethernet interfaces with hardware behind them, ordered by name.
std::vector<Interface> collect_interfaces(const Machine& machine);

Json interface_as_json(const Interface& interface);

}  // namespace agent
