// A sender of native/serve as JavaScript sees it: { start(request), cancel(id), close() } and a function that gets each
// outcome that start did not return. The sender's thread ends with close() or with the environment.
#pragma once

#include <napi.h>

#include <memory>
#include <optional>

namespace ironrack::addon {

template <typename Sender>
class SenderHandle {
 public:
  using ReadRequest = std::optional<typename Sender::Request> (*)(Napi::Env, Napi::Object);
  using ToValue = Napi::Object (*)(Napi::Env, const typename Sender::Outcome&);

  static Napi::Value open(const Napi::CallbackInfo& info, const char* name, ReadRequest read, ToValue to_value) {
    const auto env = info.Env();
    if (!info[0].IsFunction()) {
      Napi::TypeError::New(env, "a sender needs a function for outcomes").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const auto self = std::make_shared<SenderHandle>(env, info[0].As<Napi::Function>(), to_value);
    self->begin(self, name);
    auto handle = Napi::Object::New(env);
    const std::weak_ptr<SenderHandle> weak = self;
    handle.Set("start", Napi::Function::New(env, [weak, read](const Napi::CallbackInfo& call) {
      const auto handle = weak.lock();
      const bool open = handle != nullptr && handle->sender_ != nullptr;
      if (!open || !call[0].IsObject()) {
        Napi::TypeError::New(call.Env(), open ? "start takes a request" : "the sender is closed").ThrowAsJavaScriptException();
        return call.Env().Undefined();
      }
      auto request = read(call.Env(), call[0].As<Napi::Object>());
      if (!request) return call.Env().Undefined();
      const auto outcome = handle->sender_->start(std::move(*request));
      return outcome ? handle->to_value_(call.Env(), *outcome) : call.Env().Undefined();
    }, "start"));
    handle.Set("cancel", Napi::Function::New(env, [weak](const Napi::CallbackInfo& call) {
      const auto handle = weak.lock();
      if (handle != nullptr && handle->sender_ != nullptr && call[0].IsNumber()) handle->sender_->cancel(call[0].As<Napi::Number>().Uint32Value());
      return call.Env().Undefined();
    }, "cancel"));
    handle.Set("close", Napi::Function::New(env, [weak](const Napi::CallbackInfo& call) {
      if (const auto handle = weak.lock()) handle->close();
      return call.Env().Undefined();
    }, "close"));
    return handle;
  }

  SenderHandle(Napi::Env env, Napi::Function on_outcome, ToValue to_value) : env_(env), on_outcome_(Napi::Persistent(on_outcome)), to_value_(to_value) {}

 private:
  static void deliver(Napi::Env env, Napi::Function, SenderHandle* handle, void*) {
    // Without an environment the channel only empties itself; the handle may be gone by then.
    if (env != nullptr && handle != nullptr) handle->deliver_outcomes();
  }
  using News = Napi::TypedThreadSafeFunction<SenderHandle, void, &SenderHandle::deliver>;

  void begin(std::shared_ptr<SenderHandle> self, const char* name) {
    // News may be under way after close(): the handle lives until the channel has ended.
    news_ = News::New(env_, name, 0, 1, this, [](Napi::Env, void*, SenderHandle* handle) { handle->self_.reset(); });
    // Sockets and timers decide how long the process lives, not this.
    news_.Unref(env_);
    // Registered after the news channel's own hook, so that this one runs before it: the thread is gone when the channel closes.
    napi_add_env_cleanup_hook(env_, &SenderHandle::on_environment_end, this);
    sender_ = std::make_unique<Sender>([this] { news_.NonBlockingCall(); });
    self_ = std::move(self);
  }

  void deliver_outcomes() {
    if (sender_ == nullptr) return;
    const Napi::HandleScope scope(env_);
    for (const auto& outcome : sender_->take_outcomes()) on_outcome_.Call({to_value_(env_, outcome)});
  }

  void close() {
    if (sender_ == nullptr) return;
    napi_remove_env_cleanup_hook(env_, &SenderHandle::on_environment_end, this);
    sender_->finish();
    deliver_outcomes();
    sender_.reset();
    news_.Release();
  }

  static void on_environment_end(void* data) {
    auto* handle = static_cast<SenderHandle*>(data);
    handle->sender_.reset();
    handle->news_.Release();
    handle->on_outcome_.SuppressDestruct();
  }

  Napi::Env env_;
  Napi::FunctionReference on_outcome_;
  ToValue to_value_;
  News news_;
  std::unique_ptr<Sender> sender_;
  std::shared_ptr<SenderHandle> self_;
};

}  // namespace ironrack::addon
