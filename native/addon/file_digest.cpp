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
  if (!info[0].IsObject() || !info[1].IsFunction() || !info[2].IsFunction()) {
    Napi::TypeError::New(env, "startFileDigest takes a request and two functions").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Arguments arguments(info[0].As<Napi::Object>());
  auto path = arguments.text("path");
  auto algorithm = arguments.text("algorithm");
  if (env.IsExceptionPending()) return env.Undefined();
  return Background<FileDigest, DigestValues>::start(env, info[1].As<Napi::Function>(), info[2].As<Napi::Function>(), std::move(path), std::move(algorithm)).handle;
}

}  // namespace ironrack::addon
