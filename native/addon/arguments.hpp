// Reads plain objects from JavaScript; the typed face has checked them, so what is wrong here is a bug and throws a TypeError.
#pragma once

#include <napi.h>

#include <optional>
#include <string>

namespace ironrack::addon {

class Arguments {
 public:
  explicit Arguments(Napi::Object object) : object_(object) {}

  std::string text(const char* key) {
    const auto value = object_.Get(key);
    if (!value.IsString()) return wrong(key, "a string"), std::string();
    return value.As<Napi::String>().Utf8Value();
  }

  std::optional<std::string> optional_text(const char* key) {
    if (absent(key)) return std::nullopt;
    return text(key);
  }

  std::uint32_t number(const char* key, std::uint32_t most) {
    const auto value = object_.Get(key);
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
    if (!(number >= 0 && number <= most) || number != static_cast<double>(static_cast<std::uint32_t>(number))) return wrong(key, "a whole number in range"), 0;
    return static_cast<std::uint32_t>(number);
  }

  /// A whole number of bytes, which JavaScript counts exactly up to 2^53.
  std::uint64_t bytes(const char* key) {
    const auto value = object_.Get(key);
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
    if (!(number >= 0 && number <= 9007199254740992.0) || number != static_cast<double>(static_cast<std::uint64_t>(number))) return wrong(key, "a whole number"), 0;
    return static_cast<std::uint64_t>(number);
  }

  bool flag(const char* key) {
    const auto value = object_.Get(key);
    return value.IsBoolean() && value.As<Napi::Boolean>().Value();
  }

  std::optional<Arguments> object(const char* key) {
    if (absent(key)) return std::nullopt;
    const auto value = object_.Get(key);
    if (!value.IsObject()) return wrong(key, "an object"), std::nullopt;
    return Arguments(value.As<Napi::Object>());
  }

  Napi::Array array(const char* key) {
    const auto value = object_.Get(key);
    if (!value.IsArray()) return wrong(key, "an array"), Napi::Array::New(object_.Env());
    return value.As<Napi::Array>();
  }

 private:
  bool absent(const char* key) {
    const auto value = object_.Get(key);
    return value.IsUndefined() || value.IsNull();
  }

  void wrong(const char* key, const char* what) {
    if (!object_.Env().IsExceptionPending()) Napi::TypeError::New(object_.Env(), std::string(key) + " must be " + what).ThrowAsJavaScriptException();
  }

  Napi::Object object_;
};

}  // namespace ironrack::addon
