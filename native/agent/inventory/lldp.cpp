#include "lldp.hpp"

#include "../bytes.hpp"
#include "../file.hpp"

#include <array>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

namespace agent {

namespace {

constexpr std::uint16_t lldp_ethertype = 0x88cc;
constexpr std::size_t ethernet_header = 14;
// §7.1, table 7-1: nearest bridge, nearest non-TPMR bridge, nearest customer bridge.
constexpr std::array<std::uint8_t, 3> group_address_ends = {0x0e, 0x03, 0x00};

struct Listener {
    std::string interface;
    Descriptor socket;
};

std::optional<Listener> listen_on(const std::string& interface)
{
    const unsigned index = ::if_nametoindex(interface.c_str());
    Descriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(lldp_ethertype)));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(lldp_ethertype);
    address.sll_ifindex = static_cast<int>(index);
    if (index == 0 || !socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return std::nullopt;
    }
    for (const std::uint8_t end : group_address_ends) {
        packet_mreq group{};
        group.mr_ifindex = static_cast<int>(index);
        group.mr_type = PACKET_MR_MULTICAST;
        group.mr_alen = 6;
        const std::array<std::uint8_t, 6> mac = {0x01, 0x80, 0xc2, 0x00, 0x00, end};
        std::copy(mac.begin(), mac.end(), group.mr_address);
        ::setsockopt(socket.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group);
    }
    return Listener{.interface = interface, .socket = std::move(socket)};
}

}  // namespace

/* TLV (§8.4): 7 bits type | 9 bits length | value. The data unit ends with type 0. */
std::optional<LldpTlvs> parse_lldp_frame(std::span<const std::uint8_t> frame)
{
    if (frame.size() < ethernet_header || frame[12] != lldp_ethertype >> 8 || frame[13] != (lldp_ethertype & 0xff)) {
        return std::nullopt;
    }
    LldpTlvs tlvs;
    auto rest = frame.subspan(ethernet_header);
    while (rest.size() >= 2) {
        const int type = rest[0] >> 1;
        const std::size_t length = static_cast<std::size_t>(rest[0] & 1) << 8 | rest[1];
        if (length > rest.size() - 2) {
            return std::nullopt;
        }
        tlvs.emplace_back(type, hexadecimal(rest.subspan(2, length)));
        if (type == 0) {
            return tlvs;
        }
        rest = rest.subspan(2 + length);
    }
    return std::nullopt;
}

std::map<std::string, LldpTlvs> collect_lldp(const std::vector<std::string>& interfaces, std::chrono::milliseconds time, const std::stop_token& stop)
{
    std::vector<Listener> listeners;
    for (const std::string& interface : interfaces) {
        if (auto listener = listen_on(interface)) {
            listeners.push_back(std::move(*listener));
        }
    }
    std::map<std::string, LldpTlvs> heard;
    const auto end = std::chrono::steady_clock::now() + time;
    while (!stop.stop_requested() && heard.size() < listeners.size() && std::chrono::steady_clock::now() < end) {
        std::vector<pollfd> polls;
        for (const Listener& listener : listeners) {
            polls.push_back({.fd = listener.socket.get(), .events = POLLIN, .revents = 0});
        }
        if (::poll(polls.data(), polls.size(), 200) <= 0) {
            continue;
        }
        for (std::size_t i = 0; i < polls.size(); ++i) {
            std::array<std::uint8_t, ETH_FRAME_LEN> frame;
            const ssize_t got = (polls[i].revents & POLLIN) != 0 ? ::recv(polls[i].fd, frame.data(), frame.size(), 0) : -1;
            if (got <= 0) {
                continue;
            }
            if (auto tlvs = parse_lldp_frame(std::span(frame).first(static_cast<std::size_t>(got)))) {
                heard.emplace(listeners[i].interface, std::move(*tlvs));
            }
        }
    }
    return heard;
}

}  // namespace agent
