#include "addon/values.hpp"

namespace ironrack::addon {

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

}  // namespace ironrack::addon
