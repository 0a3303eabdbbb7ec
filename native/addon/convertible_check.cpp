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
  if (!info[0].IsObject() || !info[1].IsFunction() || !info[2].IsFunction()) {
    Napi::TypeError::New(env, "startConvertibleCheck takes a request and two functions").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Arguments arguments(info[0].As<Napi::Object>());
  auto path = arguments.text("path");
  auto format = arguments.text("format");
  if (env.IsExceptionPending()) return env.Undefined();
  return Background<ConvertibleCheck, CheckValues>::start(env, info[1].As<Napi::Function>(), info[2].As<Napi::Function>(), std::move(path), std::move(format)).handle;
}

}  // namespace ironrack::addon
