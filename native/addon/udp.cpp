// A UDP socket on one interface, which node:dgram cannot make: DHCP answers must leave where the request came in.
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>

#include "addon/arguments.hpp"
#include "addon/functions.hpp"
#include "addon/system_error.hpp"
#include "bytes/unique_fd.hpp"

namespace ironrack::addon {

Napi::Value bind_udp_to_interface(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  Arguments arguments(info[0].IsObject() ? info[0].As<Napi::Object>() : Napi::Object::New(env));
  const auto interface = arguments.text("interface");
  const auto address = arguments.text("address");
  const auto port = static_cast<std::uint16_t>(arguments.number("port", 65535));
  const bool broadcast = arguments.flag("broadcast");
  if (env.IsExceptionPending()) return env.Undefined();
  if (interface.empty() || interface.size() >= IFNAMSIZ) return throw_system_error(env, "bindUdpToInterface", ENODEV);

  sockaddr_storage storage{};
  socklen_t size = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) v6->sin6_scope_id = ::if_nametoindex(interface.c_str());
    size = sizeof *v6;
  } else {
    return throw_system_error(env, "bindUdpToInterface", EINVAL);
  }

  UniqueFd guard(::socket(storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = guard.get();
  if (fd < 0) return throw_system_error(env, "socket", errno);
  const int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return throw_system_error(env, "setsockopt SO_REUSEADDR", errno);
  if (broadcast && ::setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) != 0) return throw_system_error(env, "setsockopt SO_BROADCAST", errno);
  if (storage.ss_family == AF_INET6 && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) return throw_system_error(env, "setsockopt IPV6_V6ONLY", errno);
  if (::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface.c_str(), static_cast<socklen_t>(interface.size())) != 0) return throw_system_error(env, "setsockopt SO_BINDTODEVICE", errno);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0) return throw_system_error(env, "bind", errno);
  return Napi::Number::New(env, guard.release());
}

}  // namespace ironrack::addon
