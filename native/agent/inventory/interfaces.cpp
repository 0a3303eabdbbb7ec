#include "interfaces.hpp"

#include "../file.hpp"
#include "../kernel_command_line.hpp"

#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <ifaddrs.h>
#include <map>
#include <memory>
#include <netinet/in.h>

namespace agent {

namespace {

struct Addresses {
    std::optional<std::string> ipv4;
    std::optional<std::string> ipv6;
};

std::map<std::string, Addresses> addresses_by_interface()
{
    std::map<std::string, Addresses> found;
    ifaddrs* head = nullptr;
    if (::getifaddrs(&head) != 0) {
        return found;
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(head, &::freeifaddrs);
    for (const ifaddrs* at = head; at != nullptr; at = at->ifa_next) {
        if (at->ifa_addr == nullptr) {
            continue;
        }
        std::array<char, INET6_ADDRSTRLEN> text{};
        Addresses& addresses = found[at->ifa_name];
        if (at->ifa_addr->sa_family == AF_INET && !addresses.ipv4) {
            ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr, text.data(), text.size());
            addresses.ipv4 = text.data();
        } else if (at->ifa_addr->sa_family == AF_INET6) {
            const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr)->sin6_addr;
            ::inet_ntop(AF_INET6, &address, text.data(), text.size());
            if (!addresses.ipv6 || addresses.ipv6->starts_with("fe80:")) {
                addresses.ipv6 = text.data();
            }
        }
    }
    return found;
}

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

}  // namespace

std::vector<Interface> collect_interfaces(const Machine& machine)
{
    constexpr std::uint64_t ethernet = 1;  // ARPHRD_ETHER
    const auto addresses = addresses_by_interface();
    std::vector<Interface> interfaces;
    for (const std::string& name : entries_of(machine.sysfs + "/class/net")) {
        const std::string directory = machine.sysfs + "/class/net/" + name;
        const auto mac = parse_mac_address(read_line_of(directory + "/address").value_or(""));
        // Bridges, bonds, VLANs and the loopback have no device behind them.
        if (read_number_of(directory + "/type") != ethernet || !file_exists(directory + "/device") || !mac) {
            continue;
        }
        Interface interface;
        interface.name = name;
        interface.mac_address = *mac;
        interface.has_carrier = read_number_of(directory + "/carrier").value_or(0) == 1;
        interface.driver = last_part_of_link(directory + "/device/driver");
        if (interface.driver->empty()) {
            interface.driver.reset();
        }
        // virtio_net's device is virtioN, and the PCI function is its parent.
        for (const char* up : {"/device", "/device/.."}) {
            if (last_part_of_link(directory + up + "/subsystem") == "pci") {
                if (const auto event = read_file(directory + up + "/uevent")) {
                    const auto at = event->find("PCI_SLOT_NAME=");
                    if (at != std::string::npos) {
                        interface.pci_address = event->substr(at + 14, event->find('\n', at) - at - 14);
                    }
                }
                interface.vendor = read_line_of(directory + up + "/vendor");
                interface.product = read_line_of(directory + up + "/device");
                break;
            }
        }
        if (const auto speed = read_number_of(directory + "/speed"); speed && *speed > 0 && *speed < 0xffffffff) {
            interface.speed_mbps = static_cast<std::int64_t>(*speed);
        }
        if (const auto at = addresses.find(name); at != addresses.end()) {
            interface.ipv4_address = at->second.ipv4;
            interface.ipv6_address = at->second.ipv6;
        }
        interfaces.push_back(std::move(interface));
    }
    return interfaces;
}

Json interface_as_json(const Interface& interface)
{
    return {
        {"name", interface.name},
        {"mac_address", interface.mac_address},
        {"ipv4_address", or_null(interface.ipv4_address)},
        {"ipv6_address", or_null(interface.ipv6_address)},
        {"has_carrier", interface.has_carrier},
        {"lldp", nullptr},
        {"vendor", or_null(interface.vendor)},
        {"product", or_null(interface.product)},
        {"client_id", nullptr},
        {"biosdevname", nullptr},
        {"speed_mbps", interface.speed_mbps ? Json(*interface.speed_mbps) : Json(nullptr)},
        {"pci_address", or_null(interface.pci_address)},
        {"driver", or_null(interface.driver)},
    };
}

}  // namespace agent
