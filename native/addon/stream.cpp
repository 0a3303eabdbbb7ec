// streamImage's native half: a stream job on a thread of its own, and its news on Node's thread.
#include <memory>
#include <mutex>
#include <thread>

#include "addon/arguments.hpp"
#include "addon/functions.hpp"
#include "pipeline/stream_job.hpp"

namespace ironrack::addon {
namespace {

using namespace pipeline;

Napi::Object to_value(Napi::Env env, const Fault& fault) {
  auto value = Napi::Object::New(env);
  value.Set("kind", std::string(kind_name(fault.kind)));
  value.Set("code", fault.code);
  value.Set("message", fault.message);
  value.Set("retry", std::string(retry_name(fault.retry)));
  auto detail = Napi::Object::New(env);
  for (const auto& [key, item] : fault.detail) {
    if (const auto* text = std::get_if<std::string>(&item)) detail.Set(key, *text);
    else detail.Set(key, static_cast<double>(std::get<std::uint64_t>(item)));
  }
  value.Set("detail", detail);
  return value;
}

Napi::Object to_value(Napi::Env env, const Checksum& checksum) {
  auto value = Napi::Object::New(env);
  value.Set("algorithm", checksum.algorithm);
  value.Set("value", checksum.value);
  return value;
}

Napi::Object to_value(Napi::Env env, const Progress& progress) {
  auto value = Napi::Object::New(env);
  value.Set("sourceBytes", static_cast<double>(progress.source_bytes));
  value.Set("virtualSize", static_cast<double>(progress.virtual_size));
  auto targets = Napi::Array::New(env, progress.targets.size());
  for (std::uint32_t i = 0; i < progress.targets.size(); i++) {
    auto target = Napi::Object::New(env);
    target.Set("written", static_cast<double>(progress.targets[i].written));
    target.Set("skipped", static_cast<double>(progress.targets[i].skipped));
    target.Set("verified", static_cast<double>(progress.targets[i].verified));
    target.Set("stage", progress.targets[i].stage);
    targets.Set(i, target);
  }
  value.Set("targets", targets);
  return value;
}

Napi::Object to_value(Napi::Env env, const StreamResult& result) {
  auto value = Napi::Object::New(env);
  value.Set("virtualSize", static_cast<double>(result.virtual_size));
  value.Set("checksum", result.checksum ? Napi::Value(to_value(env, *result.checksum)) : env.Null());
  auto targets = Napi::Array::New(env, result.targets.size());
  for (std::uint32_t i = 0; i < result.targets.size(); i++) {
    const auto& each = result.targets[i];
    auto target = Napi::Object::New(env);
    target.Set("ok", each.has_value());
    if (each) {
      target.Set("bytes", static_cast<double>(each->bytes));
      target.Set("skipped", static_cast<double>(each->skipped));
      target.Set("seconds", each->seconds);
      target.Set("digest", each->digest);
    } else {
      target.Set("fault", to_value(env, each.error()));
    }
    targets.Set(i, target);
  }
  value.Set("targets", targets);
  return value;
}

/// A stream that runs. Owned by itself from start() to the end's delivery, or to the end of the environment.
class RunningStream {
 public:
  RunningStream(Napi::Env env, StreamRequest request, Napi::Function on_progress, Napi::Function on_end)
      : env_(env), job_(std::move(request)), on_progress_(Napi::Persistent(on_progress)), on_end_(Napi::Persistent(on_end)) {}

  static void start(std::shared_ptr<RunningStream> self) {
    self->news_ = News::New(self->env_, "ironrack stream", 0, 1, self.get());
    // Registered after the news channel's own hook, so that this one runs before it: the thread is gone when the channel closes.
    napi_add_env_cleanup_hook(self->env_, &RunningStream::on_environment_end, self.get());
    self->self_ = self;
    self->thread_ = std::thread([stream = self.get()] { stream->work(); });
  }

  void cancel() { job_.cancel(); }

 private:
  static void deliver(Napi::Env env, Napi::Function callback, RunningStream* stream, void* data);
  using News = Napi::TypedThreadSafeFunction<RunningStream, void, &RunningStream::deliver>;

  static void on_environment_end(void* data) {
    auto* stream = static_cast<RunningStream*>(data);
    stream->job_.cancel();
    stream->thread_.join();
    stream->news_.Release();
    stream->on_progress_.SuppressDestruct();
    stream->on_end_.SuppressDestruct();
    stream->self_.reset();
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
    std::optional<Result<StreamResult>> result;
    {
      const std::lock_guard lock(mutex_);
      progress = std::exchange(progress_, std::nullopt);
      result = std::exchange(result_, std::nullopt);
    }
    if (progress) on_progress_.Call({to_value(env, *progress)});
    if (!result) return;
    const auto keep = std::move(self_);
    napi_remove_env_cleanup_hook(env, &RunningStream::on_environment_end, this);
    thread_.join();
    news_.Release();
    on_end_.Call({*result ? env.Null() : Napi::Value(to_value(env, result->error())), *result ? Napi::Value(to_value(env, **result)) : env.Null()});
  }

  Napi::Env env_;
  StreamJob job_;
  Napi::FunctionReference on_progress_;
  Napi::FunctionReference on_end_;
  News news_;
  std::thread thread_;
  std::mutex mutex_;
  std::optional<Progress> progress_;
  std::optional<Result<StreamResult>> result_;
  std::shared_ptr<RunningStream> self_;
};

void RunningStream::deliver(Napi::Env env, Napi::Function, RunningStream* stream, void*) {
  // Without an environment the channel only empties itself; the stream may be gone by then.
  if (env != nullptr && stream != nullptr) stream->deliver_to(env);
}

std::optional<StreamRequest> read_request(Napi::Env env, Napi::Object object) {
  StreamRequest request;
  Arguments arguments(object);
  if (auto source = arguments.object("source")) {
    request.source.path = source->text("path");
    request.source.format = source->text("format");
    if (auto checksum = source->object("checksum")) request.source.checksum = Checksum{checksum->text("algorithm"), checksum->text("value")};
  }
  const auto policy = arguments.text("policy");
  if (policy == "disk-is-blank") request.policy = HolePolicy::disk_is_blank;
  else if (policy == "discard") request.policy = HolePolicy::discard;
  else if (policy == "write-zeroes") request.policy = HolePolicy::write_zeroes;
  else if (!env.IsExceptionPending()) Napi::TypeError::New(env, "policy is unknown").ThrowAsJavaScriptException();
  request.verify = arguments.text("verify") == "read-back" ? Verify::read_back : Verify::none;
  const auto targets = arguments.array("targets");
  for (std::uint32_t i = 0; i < targets.Length(); i++) {
    const auto value = targets.Get(i);
    Arguments each(value.IsObject() ? value.As<Napi::Object>() : Napi::Object::New(env));
    TargetRequest target;
    target.address = each.text("address");
    target.port = static_cast<std::uint16_t>(each.number("port", 65535));
    target.iqn = each.text("iqn");
    target.lun = static_cast<std::uint16_t>(each.number("lun", 16383));
    target.initiator_iqn = each.text("initiatorIqn");
    if (auto chap = each.object("chap")) {
      target.chap = iscsi::ChapCredentials{{chap->text("username"), chap->text("password")}, std::nullopt};
      if (auto mutual = chap->object("target")) target.chap->target = iscsi::ChapPeer{mutual->text("username"), mutual->text("password")};
    }
    if (const auto digests = each.optional_text("digests")) {
      target.header_digest = *digests == "header" || *digests == "both";
      target.data_digest = *digests == "data" || *digests == "both";
    }
    request.targets.push_back(std::move(target));
  }
  if (env.IsExceptionPending()) return std::nullopt;
  return request;
}

}  // namespace

Napi::Value start_stream(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  if (!info[0].IsObject() || !info[1].IsFunction() || !info[2].IsFunction()) {
    Napi::TypeError::New(env, "startStream takes a request and two functions").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto request = read_request(env, info[0].As<Napi::Object>());
  if (!request) return env.Undefined();
  const auto stream = std::make_shared<RunningStream>(env, std::move(*request), info[1].As<Napi::Function>(), info[2].As<Napi::Function>());
  RunningStream::start(stream);
  auto handle = Napi::Object::New(env);
  handle.Set("cancel", Napi::Function::New(env, [weak = std::weak_ptr(stream)](const Napi::CallbackInfo& call) {
    if (const auto running = weak.lock()) running->cancel();
    return call.Env().Undefined();
  }, "cancel"));
  return handle;
}

}  // namespace ironrack::addon
