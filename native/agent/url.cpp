#include "url.hpp"

#include "file.hpp"

#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <netinet/in.h>
#include <sys/socket.h>

namespace agent {

namespace {

bool is_address(const std::string& host)
{
    in6_addr any{};
    return ::inet_pton(AF_INET, host.c_str(), &any) == 1 || ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

}  // namespace

std::string Url::authority() const { return (is_ipv6() ? "[" + host + "]" : host) + ":" + std::to_string(port); }

Result<Url> parse_url(std::string_view text)
{
    const auto bad = [&](const char* what) { return fail(FaultKind::invalid, "URL '" + std::string(text.substr(0, 200)) + "': " + what); };
    Url url;
    std::string_view rest = text;
    if (rest.starts_with("https://")) {
        url.is_https = true;
        url.port = 443;
        rest.remove_prefix(8);
    } else if (rest.starts_with("http://")) {
        rest.remove_prefix(7);
    } else {
        return bad("it must start with http:// or https://");
    }
    const auto slash = rest.find('/');
    std::string_view authority = rest.substr(0, slash);
    if (slash != std::string_view::npos) {
        url.path = rest.substr(slash);
    }
    while (url.path.ends_with('/')) {
        url.path.pop_back();
    }
    if (url.path.find_first_of(" ?#\r\n") != std::string::npos) {
        return bad("it must have no query, fragment or blank");
    }
    std::string_view port;
    if (authority.starts_with('[')) {
        const auto close = authority.find(']');
        if (close == std::string_view::npos) {
            return bad("bracket without end");
        }
        url.host = authority.substr(1, close - 1);
        port = authority.substr(close + 1);
    } else {
        const auto colon = authority.find(':');
        url.host = authority.substr(0, colon);
        port = colon == std::string_view::npos ? "" : authority.substr(colon);
    }
    if (!port.empty()) {
        const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), url.port);
        if (port[0] != ':' || error != std::errc() || end != port.data() + port.size() || url.port == 0) {
            return bad("port");
        }
    }
    if (!is_address(url.host)) {
        return bad("the host must be an IP address");
    }
    return url;
}

Result<std::string> local_address_towards(const Url& url)
{
    sockaddr_storage peer{};
    socklen_t size = 0;
    if (url.is_ipv6()) {
        auto& address = reinterpret_cast<sockaddr_in6&>(peer);
        address.sin6_family = AF_INET6;
        address.sin6_port = htons(url.port);
        ::inet_pton(AF_INET6, url.host.c_str(), &address.sin6_addr);
        size = sizeof address;
    } else {
        auto& address = reinterpret_cast<sockaddr_in&>(peer);
        address.sin_family = AF_INET;
        address.sin_port = htons(url.port);
        ::inet_pton(AF_INET, url.host.c_str(), &address.sin_addr);
        size = sizeof address;
    }
    // Connecting a datagram socket sends nothing; it asks the routing table.
    const Descriptor socket(::socket(peer.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&peer), size) != 0) {
        const std::string reason = fail_errno("no route to " + url.host).error().message;
        return fail(FaultKind::unreachable, reason);
    }
    sockaddr_storage local{};
    socklen_t local_size = sizeof local;
    if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &local_size) != 0) {
        return fail_errno("asking for the local address");
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (local.ss_family == AF_INET6) {
        ::inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6&>(local).sin6_addr, text.data(), text.size());
    } else {
        ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(local).sin_addr, text.data(), text.size());
    }
    return std::string(text.data());
}

}  // namespace agent
