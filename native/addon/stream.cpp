// streamImage's native half: a stream job on a thread of its own, and its news on Node's thread.
#include <array>

#include "addon/arguments.hpp"
#include "addon/background.hpp"
#include "addon/download.hpp"
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

/// [[begin, end], …] and [[offset, length, crc32c], …]: offsets on disks are far below 2^53.
Napi::Object checkpoint_value(Napi::Env env, const Checkpoint& checkpoint) {
  const auto row = [&](std::initializer_list<std::uint64_t> numbers) {
    auto out = Napi::Array::New(env, numbers.size());
    std::uint32_t at = 0;
    for (const auto number : numbers) out.Set(at++, static_cast<double>(number));
    return out;
  };
  auto extents = Napi::Array::New(env);
  for (const auto& [begin, end] : checkpoint.extents) extents.Set(extents.Length(), row({begin, end}));
  auto samples = Napi::Array::New(env);
  for (const auto& [offset, length, checksum] : checkpoint.samples) samples.Set(samples.Length(), row({offset, length, checksum}));
  auto value = Napi::Object::New(env);
  value.Set("image", checkpoint.image);
  value.Set("disk", checkpoint.disk);
  value.Set("extents", extents);
  value.Set("samples", samples);
  return value;
}

Napi::Object target_value(Napi::Env env, const TargetResult& result) {
  auto value = Napi::Object::New(env);
  value.Set("ok", result.has_value());
  if (!result) {
    value.Set("fault", to_value(env, result.error()));
    return value;
  }
  value.Set("bytes", static_cast<double>(result->bytes));
  value.Set("skipped", static_cast<double>(result->skipped));
  value.Set("resumed", static_cast<double>(result->resumed));
  value.Set("resumeRefused", result->resume_refused);
  value.Set("seconds", result->seconds);
  value.Set("digest", result->digest);
  return value;
}

class StreamValues {
 public:
  using Progress = pipeline::Progress;
  using Outcome = StreamResult;

  /// Of checkpoints and ends what was not told before.
  Napi::Object to_value(Napi::Env env, const Progress& progress) {
    auto value = Napi::Object::New(env);
    value.Set("sourceBytes", static_cast<double>(progress.source_bytes));
    value.Set("virtualSize", static_cast<double>(progress.virtual_size));
    auto targets = Napi::Array::New(env, progress.targets.size());
    told_.resize(progress.targets.size());
    for (std::uint32_t i = 0; i < progress.targets.size(); i++) {
      const auto& each = progress.targets[i];
      auto target = Napi::Object::New(env);
      target.Set("written", static_cast<double>(each.written));
      target.Set("skipped", static_cast<double>(each.skipped));
      target.Set("resumed", static_cast<double>(each.resumed));
      target.Set("verified", static_cast<double>(each.verified));
      target.Set("stage", each.stage);
      if (each.checkpoint != told_[i].checkpoint) target.Set("checkpoint", checkpoint_value(env, *each.checkpoint));
      if (each.end != told_[i].end) target.Set("end", target_value(env, *each.end));
      told_[i] = each;
      targets.Set(i, target);
    }
    value.Set("targets", targets);
    return value;
  }

  Napi::Object to_value(Napi::Env env, const StreamResult& result) {
    auto value = Napi::Object::New(env);
    value.Set("virtualSize", static_cast<double>(result.virtual_size));
    value.Set("checksum", result.checksum ? Napi::Value(checksum_value(env, *result.checksum)) : env.Null());
    auto targets = Napi::Array::New(env, result.targets.size());
    for (std::uint32_t i = 0; i < result.targets.size(); i++) targets.Set(i, target_value(env, result.targets[i]));
    value.Set("targets", targets);
    return value;
  }

 private:
  std::vector<TargetProgress> told_;
};

/// What the caller stored may be anything by now: what has not the right form is no checkpoint, and the stream begins at the beginning.
std::shared_ptr<const Checkpoint> read_checkpoint(Napi::Object object) {
  const auto image = object.Get("image");
  const auto disk = object.Get("disk");
  if (!image.IsString() || !disk.IsString()) return nullptr;
  auto out = std::make_shared<Checkpoint>(Checkpoint{image.As<Napi::String>(), disk.As<Napi::String>(), {}, {}});
  const auto rows = [&](const char* key, std::uint32_t width, const auto& take) {
    const auto list = object.Get(key);
    if (!list.IsArray()) return false;
    const auto array = list.As<Napi::Array>();
    for (std::uint32_t i = 0; i < array.Length(); i++) {
      const auto row = array.Get(i);
      if (!row.IsArray() || row.As<Napi::Array>().Length() != width) return false;
      std::array<std::uint64_t, 3> numbers{};
      for (std::uint32_t at = 0; at < width; at++) {
        const auto number = row.As<Napi::Array>().Get(at);
        const double value = number.IsNumber() ? number.As<Napi::Number>().DoubleValue() : -1;
        if (!(value >= 0 && value <= 9007199254740991.0)) return false;
        numbers[at] = static_cast<std::uint64_t>(value);
      }
      take(numbers);
    }
    return true;
  };
  const bool whole = rows("extents", 2, [&](const auto& row) { out->extents.push_back({row[0], row[1]}); }) &&
                     rows("samples", 3, [&](const auto& row) { out->samples.push_back({row[0], static_cast<std::uint32_t>(row[1]), static_cast<std::uint32_t>(row[2])}); });
  return whole ? out : nullptr;
}

TargetRequest read_target(Napi::Env env, Napi::Value value) {
  const auto object = value.IsObject() ? value.As<Napi::Object>() : Napi::Object::New(env);
  Arguments each(object);
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
  target.checkpoints = each.flag("checkpoints");
  if (const auto resume = object.Get("resume"); resume.IsObject()) target.resume = read_checkpoint(resume.As<Napi::Object>());
  return target;
}

std::optional<StreamRequest> read_request(Napi::Env env, Napi::Object object) {
  StreamRequest request;
  Arguments arguments(object);
  if (auto source = arguments.object("source")) {
    request.source.path = source->text("path");
    request.source.format = source->text("format");
    if (const auto download = download_of(object.Get("source").As<Napi::Object>().Get("download"))) request.source.arriving = download->arriving();
    if (auto checksum = source->object("checksum")) request.source.checksum = Checksum{checksum->text("algorithm"), checksum->text("value")};
  }
  const auto policy = arguments.text("policy");
  if (policy == "disk-is-blank") request.policy = HolePolicy::disk_is_blank;
  else if (policy == "discard") request.policy = HolePolicy::discard;
  else if (policy == "write-zeroes") request.policy = HolePolicy::write_zeroes;
  else if (!env.IsExceptionPending()) Napi::TypeError::New(env, "policy is unknown").ThrowAsJavaScriptException();
  request.verify = arguments.text("verify") == "read-back" ? Verify::read_back : Verify::none;
  const auto targets = arguments.array("targets");
  for (std::uint32_t i = 0; i < targets.Length(); i++) request.targets.push_back(read_target(env, targets.Get(i)));
  if (env.IsExceptionPending()) return std::nullopt;
  return request;
}

}  // namespace

Napi::Value start_stream(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto asked = job_call(info, "startStream");
  if (!asked) return env.Undefined();
  auto request = read_request(env, asked->request);
  if (!request) return env.Undefined();
  auto stream = Background<StreamJob, StreamValues>::start(env, *asked, std::move(*request));
  stream.method("add", [](StreamJob& job, const Napi::CallbackInfo& call) -> Napi::Value {
    auto target = read_target(call.Env(), call[0]);
    if (call.Env().IsExceptionPending()) return call.Env().Undefined();
    const auto place = job.add(std::move(target));
    return place ? Napi::Value(Napi::Number::New(call.Env(), static_cast<double>(*place))) : call.Env().Undefined();
  });
  stream.method("drop", [](StreamJob& job, const Napi::CallbackInfo& call) -> Napi::Value {
    if (call[0].IsNumber()) job.drop(call[0].As<Napi::Number>().Uint32Value());
    return call.Env().Undefined();
  });
  return stream.handle;
}

}  // namespace ironrack::addon
