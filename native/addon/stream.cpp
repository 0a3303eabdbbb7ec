// streamImage's native half: a stream job on a thread of its own, and its news on Node's thread.
#include "addon/arguments.hpp"
#include "addon/background.hpp"
#include "addon/functions.hpp"
#include "pipeline/stream_job.hpp"

namespace ironrack::addon {
namespace {

using namespace pipeline;

Napi::Object checksum_value(Napi::Env env, const Checksum& checksum) {
  auto value = Napi::Object::New(env);
  value.Set("algorithm", checksum.algorithm);
  value.Set("value", checksum.value);
  return value;
}

struct StreamValues {
  using Progress = pipeline::Progress;
  using Outcome = StreamResult;

  static Napi::Object to_value(Napi::Env env, const Progress& progress) {
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

  static Napi::Object to_value(Napi::Env env, const StreamResult& result) {
    auto value = Napi::Object::New(env);
    value.Set("virtualSize", static_cast<double>(result.virtual_size));
    value.Set("checksum", result.checksum ? Napi::Value(checksum_value(env, *result.checksum)) : env.Null());
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
        target.Set("fault", addon::to_value(env, each.error()));
      }
      targets.Set(i, target);
    }
    value.Set("targets", targets);
    return value;
  }
};

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
  return Background<StreamJob, StreamValues>::start(env, info[1].As<Napi::Function>(), info[2].As<Napi::Function>(), std::move(*request));
}

}  // namespace ironrack::addon
