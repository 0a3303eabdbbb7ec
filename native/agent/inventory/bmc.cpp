#include "bmc.hpp"

#include "../bytes.hpp"
#include "../file.hpp"

#include <arpa/inet.h>
#include <array>
#include <fcntl.h>
#include <linux/ipmi.h>
#include <optional>
#include <poll.h>
#include <sys/ioctl.h>

namespace agent {

namespace {

constexpr int patience_ms = 3000;
constexpr std::uint8_t transport = 0x0c;               // IPMI 2.0 §5.1, network functions
constexpr std::uint8_t get_lan_configuration = 0x02;   // §23.2
constexpr std::uint8_t parameter_ip_address = 3;       // §23.2, table 23-4
constexpr std::uint8_t parameter_mac_address = 5;

// The value of a LAN parameter on a channel, without the completion code and the parameter revision.
std::optional<Bytes> lan_parameter(int device, std::uint8_t channel, std::uint8_t parameter)
{
    ipmi_system_interface_addr address{};
    address.addr_type = IPMI_SYSTEM_INTERFACE_ADDR_TYPE;
    address.channel = IPMI_BMC_CHANNEL;
    std::array<std::uint8_t, 4> data = {channel, parameter, 0, 0};
    static long sequence = 0;
    ipmi_req request{};
    request.addr = reinterpret_cast<unsigned char*>(&address);
    request.addr_len = sizeof address;
    request.msgid = ++sequence;
    request.msg = {.netfn = transport, .cmd = get_lan_configuration, .data_len = data.size(), .data = data.data()};
    if (::ioctl(device, IPMICTL_SEND_COMMAND, &request) != 0) {
        return std::nullopt;
    }
    for (;;) {
        pollfd poll{.fd = device, .events = POLLIN, .revents = 0};
        if (::poll(&poll, 1, patience_ms) <= 0) {
            return std::nullopt;
        }
        std::array<std::uint8_t, IPMI_MAX_MSG_LENGTH> answer{};
        ipmi_system_interface_addr from{};
        ipmi_recv received{};
        received.addr = reinterpret_cast<unsigned char*>(&from);
        received.addr_len = sizeof from;
        received.msg.data = answer.data();
        received.msg.data_len = answer.size();
        if (::ioctl(device, IPMICTL_RECEIVE_MSG_TRUNC, &received) != 0) {
            return std::nullopt;
        }
        if (received.msgid != sequence) {
            continue;  // late answer to a request given up before
        }
        if (received.msg.data_len < 3 || answer[0] != 0) {
            return std::nullopt;
        }
        return Bytes(answer.begin() + 2, answer.begin() + received.msg.data_len);
    }
}

}  // namespace

Json collect_bmc(const Machine& machine)
{
    Json bmc = {{"bmc_address", nullptr}, {"bmc_mac", nullptr}};
    const Descriptor device(::open(machine.ipmi_device.c_str(), O_RDWR | O_CLOEXEC));
    if (!device) {
        return bmc;
    }
    // The LAN channel is not the same number on all boards; the first that has an address is it.
    for (std::uint8_t channel = 1; channel <= 11; ++channel) {
        const auto address = lan_parameter(device.get(), channel, parameter_ip_address);
        if (!address || address->size() < 4 || little_endian<std::uint32_t>(*address, 0) == 0) {
            continue;
        }
        std::array<char, INET_ADDRSTRLEN> text{};
        ::inet_ntop(AF_INET, address->data(), text.data(), text.size());
        bmc["bmc_address"] = text.data();
        if (const auto mac = lan_parameter(device.get(), channel, parameter_mac_address); mac && mac->size() >= 6) {
            std::string digits = hexadecimal(std::span(*mac).first(6));
            for (const std::size_t at : {10, 8, 6, 4, 2}) {
                digits.insert(at, 1, ':');
            }
            bmc["bmc_mac"] = digits;
        }
        break;
    }
    return bmc;
}

}  // namespace agent
