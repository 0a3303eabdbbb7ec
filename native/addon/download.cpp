// Downloads: the file and what arrived of it as a value that JavaScript only passes on, and attempts to fetch it as jobs.
#include "addon/download.hpp"

#include "addon/arguments.hpp"
#include "addon/background.hpp"
#include "addon/functions.hpp"
#include "http/download_attempt.hpp"

namespace ironrack::addon {
namespace {

using http::Download;
using http::DownloadAttempt;

constexpr napi_type_tag kDownloadTag = {0x69726f6e7261636b, 0x646f776e6c6f6164};

struct AttemptValues {
  using Progress = DownloadAttempt::Progress;
  using Outcome = DownloadAttempt::Outcome;

  static void set_validators(Napi::Object value, const std::string& etag, const std::string& last_modified) {
    const auto env = value.Env();
    value.Set("etag", etag.empty() ? env.Null() : Napi::Value(Napi::String::New(env, etag)));
    value.Set("lastModified", last_modified.empty() ? env.Null() : Napi::Value(Napi::String::New(env, last_modified)));
  }

  static Napi::Object to_value(Napi::Env env, const Progress& progress) {
    auto value = Napi::Object::New(env);
    value.Set("bytes", static_cast<double>(progress.bytes));
    value.Set("total", static_cast<double>(progress.total));
    value.Set("durable", static_cast<double>(progress.durable));
    set_validators(value, progress.etag, progress.last_modified);
    return value;
  }

  static Napi::Object to_value(Napi::Env env, const Outcome& outcome) {
    auto value = Napi::Object::New(env);
    value.Set("status", static_cast<double>(outcome.status));
    value.Set("bytes", static_cast<double>(outcome.bytes));
    value.Set("digest", outcome.digest);
    set_validators(value, outcome.etag, outcome.last_modified);
    return value;
  }
};

}  // namespace

std::shared_ptr<Download> download_of(const Napi::Value& value) {
  if (!value.IsExternal()) return nullptr;
  const auto external = value.As<Napi::External<std::shared_ptr<Download>>>();
  return external.CheckTypeTag(&kDownloadTag) ? *external.Data() : nullptr;
}

Napi::Value open_download(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  Arguments arguments(info[0].IsObject() ? info[0].As<Napi::Object>() : Napi::Object::New(env));
  const auto path = arguments.text("path");
  std::optional<Download::Expected> expected;
  if (auto checksum = arguments.object("checksum")) expected = Download::Expected{checksum->text("algorithm"), checksum->text("value")};
  auto begun = arguments.object("begun");
  const auto bytes = begun ? begun->bytes("bytes") : 0;
  const auto total = begun ? begun->bytes("total") : 0;
  if (env.IsExceptionPending()) return env.Undefined();
  auto result = Napi::Object::New(env);
  auto download = begun ? Download::reopen(path, std::move(expected), bytes, total) : Download::create(path, std::move(expected));
  if (!download) {
    result.Set("fault", to_value(env, download.error()));
    return result;
  }
  auto external = Napi::External<std::shared_ptr<Download>>::New(env, new std::shared_ptr<Download>(std::move(*download)), [](Napi::Env, std::shared_ptr<Download>* held) { delete held; });
  external.TypeTag(&kDownloadTag);
  result.Set("download", external);
  return result;
}

Napi::Value abandon_download(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto download = download_of(info[0]);
  if (!download || !info[1].IsString()) {
    Napi::TypeError::New(env, "abandonDownload takes a download and a reason").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  download->abandon(Fault{FaultKind::unreachable, "image.abandoned", info[1].As<Napi::String>().Utf8Value(), Retry::later, {}});
  return env.Undefined();
}

Napi::Value close_download(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  if (const auto download = download_of(info[0])) download->close();
  else Napi::TypeError::New(env, "closeDownload takes a download").ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value start_download(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto call = job_call(info, "startDownload");
  if (!call) return env.Undefined();
  Arguments arguments(call->request);
  http::AttemptRequest request;
  request.download = download_of(call->request.Get("download"));
  request.url = arguments.text("url");
  request.username = arguments.optional_text("username").value_or("");
  request.password = arguments.optional_text("password").value_or("");
  request.ca_file = arguments.optional_text("caFile").value_or("");
  request.silence_ms = arguments.number("silenceMs", UINT32_MAX);
  const auto headers = arguments.array("headers");
  for (std::uint32_t i = 0; i < headers.Length(); i++) request.headers.push_back(headers.Get(i).ToString().Utf8Value());
  if (!request.download && !env.IsExceptionPending()) Napi::TypeError::New(env, "download must come from openDownload").ThrowAsJavaScriptException();
  if (env.IsExceptionPending()) return env.Undefined();
  return Background<DownloadAttempt, AttemptValues>::start(env, *call, std::move(request)).handle;
}

}  // namespace ironrack::addon
