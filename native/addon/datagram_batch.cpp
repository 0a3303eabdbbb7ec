// Many datagrams for one system call and one call into JavaScript: recvmmsg into a slab, sendmmsg out of another. With
// node:dgram each datagram costs an allocation of 64 KiB, a callback, and a request object with a callback of its own.
#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "addon/arguments.hpp"
#include "addon/functions.hpp"
#include "addon/system_error.hpp"
#include "bytes/unique_fd.hpp"

namespace ironrack::addon {
namespace {

constexpr std::size_t BATCH = 64;
/// One datagram of a jumbo frame; a longer one is cut, and its row says so by a length of 0.
constexpr std::size_t RECEIVE_SLOT = 9216;
constexpr std::size_t SEND_SLOT = 1536;
/// Of a storm: so much waits in the kernel while JavaScript is busy. Without CAP_NET_ADMIN net.core.rmem_max bounds it.
constexpr int RECEIVE_BUFFER = 4 << 20;
constexpr int SEND_BUFFER = 1 << 20;
/// A row of a table: length (after sending: errno), address, port; in host order.
constexpr std::size_t ROW = 3;

/// One IPv4 socket with its slabs. Lives until libuv has let go of its handle.
class DatagramBatch {
 public:
  DatagramBatch(Napi::Env env, int fd, Napi::Function on_readable)
      : env_(env), fd_(fd), on_readable_(Napi::Persistent(on_readable)), context_(env, "ironrack.datagrams"),
        received_(Napi::Persistent(Napi::Uint8Array::New(env, BATCH * RECEIVE_SLOT))),
        received_rows_(Napi::Persistent(Napi::Uint32Array::New(env, BATCH * ROW))),
        to_send_(Napi::Persistent(Napi::Uint8Array::New(env, BATCH * SEND_SLOT))),
        to_send_rows_(Napi::Persistent(Napi::Uint32Array::New(env, BATCH * ROW))) {
    poll_.data = this;
  }

  /// 0 or a libuv error; after an error the object is still the caller's.
  int open() {
    if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &RECEIVE_BUFFER, sizeof RECEIVE_BUFFER) != 0) ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &RECEIVE_BUFFER, sizeof RECEIVE_BUFFER);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &SEND_BUFFER, sizeof SEND_BUFFER);
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env_, &loop) != napi_ok) return UV_EINVAL;
    if (const int error = uv_poll_init(loop, &poll_, fd_.get()); error != 0) return error;
    napi_add_async_cleanup_hook(env_, [](napi_async_cleanup_hook_handle, void* self) { static_cast<DatagramBatch*>(self)->close(); }, this, &hook_);
    return 0;
  }

  void watch(bool on) {
    if (closing_) return;
    if (on) uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t* poll, int, int) { static_cast<DatagramBatch*>(poll->data)->readable(); });
    else uv_poll_stop(&poll_);
  }

  /// How many datagrams were there, up to BATCH; they stand in the slab and its rows until the next call.
  std::uint32_t receive() {
    if (closing_) return 0;
    std::array<mmsghdr, BATCH> messages{};
    std::array<iovec, BATCH> parts;
    std::array<sockaddr_in, BATCH> names;
    auto* bytes = received_.Value().Data();
    for (std::size_t i = 0; i < BATCH; i++) {
      parts[i] = {bytes + i * RECEIVE_SLOT, RECEIVE_SLOT};
      messages[i].msg_hdr = {.msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = 0;
    do count = ::recvmmsg(fd_.get(), messages.data(), BATCH, MSG_DONTWAIT, nullptr);
    while (count < 0 && errno == EINTR);
    if (count <= 0) return 0;  // nothing there, or an ICMP error about a datagram that is gone
    auto* rows = received_rows_.Value().Data();
    for (int i = 0; i < count; i++, rows += ROW) {
      rows[0] = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0 ? 0 : messages[i].msg_len;
      rows[1] = ntohl(names[i].sin_addr.s_addr);
      rows[2] = ntohs(names[i].sin_port);
    }
    return static_cast<std::uint32_t>(count);
  }

  /// Sends the first `count` rows and writes into each the errno, 0 for what was sent; answers how many failed.
  std::uint32_t send(std::uint32_t count) {
    if (count > BATCH) count = BATCH;
    std::array<mmsghdr, BATCH> messages{};
    std::array<iovec, BATCH> parts;
    std::array<sockaddr_in, BATCH> names{};
    auto* bytes = to_send_.Value().Data();
    auto* rows = to_send_rows_.Value().Data();
    for (std::uint32_t i = 0; i < count; i++) {
      const auto* row = rows + i * ROW;
      parts[i] = {bytes + i * SEND_SLOT, row[0] < SEND_SLOT ? row[0] : SEND_SLOT};
      names[i].sin_family = AF_INET;
      names[i].sin_addr.s_addr = htonl(row[1]);
      names[i].sin_port = htons(static_cast<std::uint16_t>(row[2]));
      messages[i].msg_hdr = {.msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    std::uint32_t failed = 0;
    for (std::uint32_t at = 0; at < count;) {
      const int sent = closing_ ? (errno = EBADF, -1) : ::sendmmsg(fd_.get(), &messages[at], count - at, MSG_DONTWAIT);
      if (sent > 0) {
        for (int i = 0; i < sent; i++) rows[(at + i) * ROW] = 0;
        at += static_cast<std::uint32_t>(sent);
      } else if (errno != EINTR) {
        rows[at * ROW] = static_cast<std::uint32_t>(errno);
        failed++, at++;
      }
    }
    return failed;
  }

  /// What the kernel has dropped because nobody read in time.
  std::uint32_t dropped() const {
    std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
    socklen_t size = sizeof info;
    if (closing_ || ::getsockopt(fd_.get(), SOL_SOCKET, SO_MEMINFO, info.data(), &size) != 0) return 0;
    return info[SK_MEMINFO_DROPS];
  }

  void close() {
    if (closing_) return;
    closing_ = true;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* handle) {
      auto* self = static_cast<DatagramBatch*>(handle->data);
      const auto hook = self->hook_;
      const Napi::HandleScope scope(self->env_);
      delete self;
      napi_remove_async_cleanup_hook(hook);
    });
    fd_.reset();  // libuv has forgotten it by now
  }

  [[nodiscard]] Napi::Value received() const { return received_.Value(); }
  [[nodiscard]] Napi::Value received_rows() const { return received_rows_.Value(); }
  [[nodiscard]] Napi::Value to_send() const { return to_send_.Value(); }
  [[nodiscard]] Napi::Value to_send_rows() const { return to_send_rows_.Value(); }

 private:
  void readable() {
    const Napi::HandleScope scope(env_);
    on_readable_.MakeCallback(env_.Global(), std::initializer_list<napi_value>{}, context_);
    // Nobody above catches: what was thrown is an uncaught exception, as it would be from node:dgram.
    napi_value thrown = nullptr;
    bool pending = false;
    if (napi_is_exception_pending(env_, &pending) == napi_ok && pending && napi_get_and_clear_last_exception(env_, &thrown) == napi_ok) napi_fatal_exception(env_, thrown);
  }

  Napi::Env env_;
  UniqueFd fd_;
  uv_poll_t poll_{};
  bool closing_ = false;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  Napi::FunctionReference on_readable_;
  Napi::AsyncContext context_;
  Napi::Reference<Napi::Uint8Array> received_;
  Napi::Reference<Napi::Uint32Array> received_rows_;
  Napi::Reference<Napi::Uint8Array> to_send_;
  Napi::Reference<Napi::Uint32Array> to_send_rows_;
};

}  // namespace

Napi::Value open_datagram_batch(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsFunction()) {
    Napi::TypeError::New(env, "a descriptor and a function are needed").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto* batch = new DatagramBatch(env, info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Function>());
  if (const int error = batch->open(); error != 0) {
    delete batch;
    return throw_system_error(env, "uv_poll_init", -error);
  }
  // The functions may outlive the batch, which close() ends; they hold what tells them so.
  auto alive = std::make_shared<DatagramBatch*>(batch);
  auto handle = Napi::Object::New(env);
  const auto on = [&](const char* name, auto call) {
    handle.Set(name, Napi::Function::New(env, [alive, call](const Napi::CallbackInfo& arguments) -> Napi::Value {
      return *alive == nullptr ? arguments.Env().Undefined() : call(**alive, arguments);
    }, name));
  };
  const auto number = [](const Napi::CallbackInfo& arguments, std::uint32_t value) { return Napi::Number::New(arguments.Env(), value); };
  handle.Set("received", batch->received());
  handle.Set("receivedRows", batch->received_rows());
  handle.Set("toSend", batch->to_send());
  handle.Set("toSendRows", batch->to_send_rows());
  on("watch", [](DatagramBatch& self, const Napi::CallbackInfo& call) { return self.watch(call[0].ToBoolean()), call.Env().Undefined(); });
  on("receive", [number](DatagramBatch& self, const Napi::CallbackInfo& call) { return number(call, self.receive()); });
  on("send", [number](DatagramBatch& self, const Napi::CallbackInfo& call) { return number(call, self.send(call[0].ToNumber().Uint32Value())); });
  on("dropped", [number](DatagramBatch& self, const Napi::CallbackInfo& call) { return number(call, self.dropped()); });
  handle.Set("close", Napi::Function::New(env, [alive](const Napi::CallbackInfo& call) -> Napi::Value {
    if (auto* open = std::exchange(*alive, nullptr); open != nullptr) open->close();
    return call.Env().Undefined();
  }, "close"));
  return handle;
}

}  // namespace ironrack::addon
