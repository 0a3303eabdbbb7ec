// "http://192.0.2.1:6385/v1": scheme, address, port, path. The ramdisk has no resolver, so the host is an IP address.
#pragma once

#include "fault.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace agent {

struct Url {
    bool is_https = false;
    std::string host;  // an IP address, IPv6 without brackets
    std::uint16_t port = 80;
    std::string path;  // "" or "/…", without a slash at its end

    bool is_ipv6() const { return host.find(':') != std::string::npos; }
    std::string authority() const;  // "192.0.2.1:6385", "[2001:db8::1]:6385"
};

Result<Url> parse_url(std::string_view text);

// The address with which this machine reaches a host: what it tells others to call back.
Result<std::string> local_address_towards(const Url& url);

}  // namespace agent
