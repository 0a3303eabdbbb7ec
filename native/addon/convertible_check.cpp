// Whether an image may be given to qemu-img, told without a byte of it in JavaScript.
#include "addon/arguments.hpp"
#include "addon/background.hpp"
#include "addon/functions.hpp"
#include "image/convertible.hpp"

namespace ironrack::addon {
namespace {

using image::ConvertibleCheck;

struct CheckValues {
  using Progress = ConvertibleCheck::Progress;
  using Outcome = ConvertibleCheck::Outcome;

  static Napi::Object to_value(Napi::Env env, const Progress&) { return Napi::Object::New(env); }

  static Napi::Object to_value(Napi::Env env, const Outcome& outcome) {
    auto value = Napi::Object::New(env);
    value.Set("virtualSize", static_cast<double>(outcome.virtual_size));
    value.Set("dataBytes", static_cast<double>(outcome.data_bytes));
    return value;
  }
};

}  // namespace

Napi::Value start_convertible_check(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto call = job_call(info, "startConvertibleCheck");
  if (!call) return env.Undefined();
  Arguments arguments(call->request);
  auto path = arguments.text("path");
  auto format = arguments.text("format");
  if (env.IsExceptionPending()) return env.Undefined();
  return Background<ConvertibleCheck, CheckValues>::start(env, *call, std::move(path), std::move(format)).handle;
}

}  // namespace ironrack::addon
