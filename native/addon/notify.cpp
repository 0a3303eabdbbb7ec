// sd_notify(3): one datagram to the service manager's socket.
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "addon/functions.hpp"
#include "addon/system_error.hpp"
#include "bytes/unique_fd.hpp"

namespace ironrack::addon {

Napi::Value sd_notify(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  if (!info[0].IsString()) {
    Napi::TypeError::New(env, "state must be a string").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const auto state = info[0].As<Napi::String>().Utf8Value();
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == 0) return Napi::Boolean::New(env, false);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return throw_system_error(env, "sdNotify", ENAMETOOLONG);
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;  // an abstract socket
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return throw_system_error(env, "socket", errno);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), size) < 0) return throw_system_error(env, "sendto", errno);
  return Napi::Boolean::New(env, true);
}

}  // namespace ironrack::addon
