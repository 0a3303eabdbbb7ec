// What native/serve sends for the boot services: TFTP transfers, and file bodies of HTTP answers.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>

#include <cerrno>

#include "addon/arguments.hpp"
#include "addon/functions.hpp"
#include "addon/sender_handle.hpp"
#include "addon/system_error.hpp"
#include "addon/values.hpp"
#include "serve/file_sender.hpp"
#include "serve/tftp_sender.hpp"

namespace ironrack::addon {
namespace {

using namespace serve;

/// A descriptor of our own for the same open file: JavaScript may close its own at any time.
UniqueFd descriptor(Napi::Env env, Arguments& arguments, const char* key) {
  const auto fd = arguments.number(key, INT32_MAX);
  if (env.IsExceptionPending()) return {};
  UniqueFd own(::fcntl(static_cast<int>(fd), F_DUPFD_CLOEXEC, 0));
  if (!own) throw_system_error(env, "fcntl F_DUPFD_CLOEXEC", errno);
  return own;
}

/// A numeric address; of IPv6 perhaps with a zone, like fe80::1%eth0.
UdpEndpoint endpoint(Napi::Env env, const std::string& address, std::uint32_t port) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const auto zone = address.find('%');
  if (::inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<std::uint16_t>(port));
    return v4;
  }
  if (::inet_pton(AF_INET6, address.substr(0, zone).c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<std::uint16_t>(port));
    if (zone != std::string::npos) v6.sin6_scope_id = ::if_nametoindex(address.c_str() + zone + 1);
    return v6;
  }
  if (!env.IsExceptionPending()) throw_system_error(env, "inet_pton", EINVAL);
  return {};
}

std::vector<std::byte> bytes_of(Napi::Value value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) return {};
  const auto array = value.As<Napi::Uint8Array>();
  const auto* first = reinterpret_cast<const std::byte*>(array.Data());
  return {first, first + array.ByteLength()};
}

std::optional<TftpRequest> read_tftp_request(Napi::Env env, Napi::Object object) {
  Arguments arguments(object);
  TftpRequest request;
  request.id = arguments.number("id", UINT32_MAX);
  request.local = endpoint(env, arguments.text("address"), 0);
  request.peer = endpoint(env, arguments.text("peerAddress"), arguments.number("peerPort", 65535));
  request.terms.blksize = arguments.number("blksize", 65464);
  request.terms.windowsize = arguments.number("windowsize", 65535);
  const auto timeout = arguments.number("timeout_s", 255);
  if (timeout > 0) request.terms.timeout_s = timeout;
  request.offer = bytes_of(object.Get("offer"));
  request.terms.offered = !request.offer.empty();
  if (object.Get("bytes").IsTypedArray()) {
    request.bytes = bytes_of(object.Get("bytes"));
    request.size = request.bytes.size();
  } else {
    request.size = arguments.bytes("size");
    if (!env.IsExceptionPending()) request.file = descriptor(env, arguments, "file");
  }
  if (!env.IsExceptionPending() && (request.terms.blksize == 0 || request.terms.windowsize == 0)) throw_system_error(env, "start", EINVAL);
  if (env.IsExceptionPending()) return std::nullopt;
  return request;
}

const char* name_of(TftpEnd end) {
  switch (end) {
    case TftpEnd::complete: return "complete";
    case TftpEnd::declined: return "declined";
    case TftpEnd::aborted: return "aborted";
    case TftpEnd::lost: return "lost";
  }
  return "lost";
}

Napi::Object tftp_outcome(Napi::Env env, const TftpOutcome& outcome) {
  auto value = Napi::Object::New(env);
  value.Set("id", outcome.id);
  value.Set("malformed", static_cast<double>(outcome.malformed));
  if (outcome.result) {
    auto result = Napi::Object::New(env);
    result.Set("kind", name_of(outcome.result->end));
    result.Set("code", static_cast<std::uint32_t>(outcome.result->code));
    result.Set("message", Napi::String::New(env, outcome.result->message));
    value.Set("result", result);
  } else {
    value.Set("fault", to_value(env, outcome.result.error()));
  }
  return value;
}

std::optional<FileRequest> read_file_request(Napi::Env env, Napi::Object object) {
  Arguments arguments(object);
  FileRequest request;
  request.id = arguments.number("id", UINT32_MAX);
  request.part = {arguments.bytes("offset"), arguments.bytes("length")};
  request.patience = std::chrono::milliseconds(arguments.number("patience_ms", INT32_MAX));
  request.file = static_cast<int>(arguments.number("file", INT32_MAX));
  request.socket = static_cast<int>(arguments.number("socket", INT32_MAX));
  if (env.IsExceptionPending()) return std::nullopt;
  return request;
}

Napi::Object file_outcome(Napi::Env env, const FileOutcome& outcome) {
  auto value = Napi::Object::New(env);
  value.Set("id", outcome.id);
  value.Set("sent", static_cast<double>(outcome.sent));
  if (!outcome.result) value.Set("fault", to_value(env, outcome.result.error()));
  return value;
}

}  // namespace

Napi::Value open_tftp_sender(const Napi::CallbackInfo& info) {
  return SenderHandle<TftpSender>::open(info, "ironrack tftp", read_tftp_request, tftp_outcome);
}

Napi::Value open_file_sender(const Napi::CallbackInfo& info) {
  return SenderHandle<FileSender>::open(info, "ironrack files", read_file_request, file_outcome);
}

}  // namespace ironrack::addon
