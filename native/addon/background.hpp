// A job on a thread of its own, and its news on Node's thread: start it, hear of its progress, cancel it, hear of its end.
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "addon/values.hpp"
#include "bytes/fault.hpp"

namespace ironrack::addon {

/// What a function that begins a job is called with.
struct JobCall {
  Napi::Object request;
  Napi::Function on_progress;
  Napi::Function on_end;
};

/// Nothing, with a TypeError, when it is called with something else.
inline std::optional<JobCall> job_call(const Napi::CallbackInfo& info, const char* name) {
  if (info[0].IsObject() && info[1].IsFunction() && info[2].IsFunction()) return JobCall{info[0].As<Napi::Object>(), info[1].As<Napi::Function>(), info[2].As<Napi::Function>()};
  Napi::TypeError::New(info.Env(), std::string(name) + " takes a request and two functions").ThrowAsJavaScriptException();
  return std::nullopt;
}

/// `Job` has run(on_progress) → Result<Outcome>, which blocks, and cancel(), from any thread. `Values` names Progress and Outcome and turns
/// each into a value: to_value(env, …); only on Node's thread. Owned by itself from start() to the end's delivery, or to the end of the environment.
template <typename Job, typename Values>
class Background {
 public:
  template <typename... Arguments>
  Background(Napi::Env env, Napi::Function on_progress, Napi::Function on_end, Arguments&&... arguments)
      : env_(env), job_(std::forward<Arguments>(arguments)...), on_progress_(Napi::Persistent(on_progress)), on_end_(Napi::Persistent(on_end)) {}

  /// A job that was begun: { cancel() } for JavaScript, to which methods may be added. They do nothing once the job is over.
  struct Started {
    Napi::Object handle;
    std::weak_ptr<Background> background;

    /// `act(job, call)` gives the method's value.
    template <typename Act>
    void method(const char* name, Act act) {
      handle.Set(name, Napi::Function::New(handle.Env(), [weak = background, act](const Napi::CallbackInfo& call) -> Napi::Value {
        const auto running = weak.lock();
        return running ? act(running->job_, call) : call.Env().Undefined();
      }, name));
    }
  };

  template <typename... Arguments>
  static Started start(Napi::Env env, const JobCall& call, Arguments&&... arguments) {
    const auto self = std::make_shared<Background>(env, call.on_progress, call.on_end, std::forward<Arguments>(arguments)...);
    self->news_ = News::New(env, "ironrack job", 0, 1, self.get());
    // Registered after the news channel's own hook, so that this one runs before it: the thread is gone when the channel closes.
    napi_add_env_cleanup_hook(env, &Background::on_environment_end, self.get());
    self->self_ = self;
    self->thread_ = std::thread([job = self.get()] { job->work(); });
    Started started{Napi::Object::New(env), self};
    started.method("cancel", [](Job& running, const Napi::CallbackInfo& call) {
      running.cancel();
      return call.Env().Undefined();
    });
    return started;
  }

 private:
  using Progress = typename Values::Progress;
  using Outcome = typename Values::Outcome;
  static void deliver(Napi::Env env, Napi::Function, Background* background, void*) {
    // Without an environment the channel only empties itself; the job may be gone by then.
    if (env != nullptr && background != nullptr) background->deliver_to(env);
  }
  using News = Napi::TypedThreadSafeFunction<Background, void, &Background::deliver>;

  static void on_environment_end(void* data) {
    auto* background = static_cast<Background*>(data);
    background->job_.cancel();
    background->thread_.join();
    background->news_.Release();
    background->on_progress_.SuppressDestruct();
    background->on_end_.SuppressDestruct();
    background->self_.reset();
  }

  void work() {
    auto result = job_.run([this](const Progress& progress) {
      {
        const std::lock_guard lock(mutex_);
        progress_ = progress;  // the newest is enough
      }
      news_.NonBlockingCall();
    });
    {
      const std::lock_guard lock(mutex_);
      result_ = std::move(result);
    }
    news_.NonBlockingCall();
  }

  void deliver_to(Napi::Env env) {
    std::optional<Progress> progress;
    std::optional<Result<Outcome>> result;
    {
      const std::lock_guard lock(mutex_);
      progress = std::exchange(progress_, std::nullopt);
      result = std::exchange(result_, std::nullopt);
    }
    if (progress) on_progress_.Call({values_.to_value(env, *progress)});
    if (!result) return;
    const auto keep = std::move(self_);
    napi_remove_env_cleanup_hook(env, &Background::on_environment_end, this);
    thread_.join();
    news_.Release();
    on_end_.Call({*result ? env.Null() : Napi::Value(to_value(env, result->error())), *result ? Napi::Value(values_.to_value(env, **result)) : env.Null()});
  }

  Napi::Env env_;
  Job job_;
  Values values_;
  Napi::FunctionReference on_progress_;
  Napi::FunctionReference on_end_;
  News news_;
  std::thread thread_;
  std::mutex mutex_;
  std::optional<Progress> progress_;
  std::optional<Result<Outcome>> result_;
  std::shared_ptr<Background> self_;
};

}  // namespace ironrack::addon
