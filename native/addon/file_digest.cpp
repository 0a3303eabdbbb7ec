// The digest of a local image, computed without a byte of it in JavaScript.
#include "image/file_digest.hpp"

#include "addon/arguments.hpp"
#include "addon/background.hpp"
#include "addon/functions.hpp"

namespace ironrack::addon {
namespace {

using image::FileDigest;

struct DigestValues {
  using Progress = FileDigest::Progress;
  using Outcome = FileDigest::Outcome;

  static Napi::Object to_value(Napi::Env env, const Progress& progress) {
    auto value = Napi::Object::New(env);
    value.Set("bytes", static_cast<double>(progress.bytes));
    value.Set("total", static_cast<double>(progress.total));
    return value;
  }

  static Napi::Object to_value(Napi::Env env, const Outcome& outcome) {
    auto value = Napi::Object::New(env);
    value.Set("value", outcome.value);
    value.Set("bytes", static_cast<double>(outcome.bytes));
    return value;
  }
};

}  // namespace

Napi::Value start_file_digest(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto call = job_call(info, "startFileDigest");
  if (!call) return env.Undefined();
  Arguments arguments(call->request);
  auto path = arguments.text("path");
  auto algorithm = arguments.text("algorithm");
  if (env.IsExceptionPending()) return env.Undefined();
  return Background<FileDigest, DigestValues>::start(env, *call, std::move(path), std::move(algorithm)).handle;
}

}  // namespace ironrack::addon
