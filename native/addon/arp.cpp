// A neighbour entry for a peer that cannot answer ARP yet: a DHCP client before it has its address (RFC 2131 §4.1).
#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "addon/arguments.hpp"
#include "addon/functions.hpp"
#include "addon/system_error.hpp"
#include "bytes/unique_fd.hpp"

namespace ironrack::addon {

Napi::Value set_peer_hardware_address(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  Arguments arguments(info[0].IsObject() ? info[0].As<Napi::Object>() : Napi::Object::New(env));
  const auto interface = arguments.text("interface");
  const auto address = arguments.text("address");
  const auto hardware = arguments.text("hardwareAddress");
  if (env.IsExceptionPending()) return env.Undefined();

  arpreq request{};
  auto* peer = reinterpret_cast<sockaddr_in*>(&request.arp_pa);
  peer->sin_family = AF_INET;
  unsigned bytes[6];
  char rest = 0;
  if (interface.size() >= sizeof request.arp_dev || ::inet_pton(AF_INET, address.c_str(), &peer->sin_addr) != 1 ||
      std::sscanf(hardware.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5], &rest) != 6) {
    return throw_system_error(env, "setPeerHardwareAddress", EINVAL);
  }
  request.arp_ha.sa_family = ARPHRD_ETHER;
  for (int i = 0; i < 6; i++) request.arp_ha.sa_data[i] = static_cast<char>(bytes[i]);
  request.arp_flags = ATF_COM;
  std::memcpy(request.arp_dev, interface.data(), interface.size());
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return throw_system_error(env, "socket", errno);
  if (::ioctl(fd.get(), SIOCSARP, &request) != 0) return throw_system_error(env, "ioctl SIOCSARP", errno);
  return env.Undefined();
}

}  // namespace ironrack::addon
