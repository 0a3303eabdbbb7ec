#include "addon/system_error.hpp"

#include <cstring>

namespace ironrack::addon {

Napi::Value throw_system_error(Napi::Env env, const char* syscall, int error) {
  const char* name = ::strerrorname_np(error);
  const std::string code = name != nullptr ? name : "UNKNOWN";
  auto thrown = Napi::Error::New(env, code + ": " + ::strerror(error) + ", " + syscall);
  thrown.Set("code", code);
  thrown.Set("errno", Napi::Number::New(env, -error));
  thrown.Set("syscall", syscall);
  thrown.ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace ironrack::addon
