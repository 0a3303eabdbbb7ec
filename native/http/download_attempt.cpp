#include "http/download_attempt.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>

#include "http/curl_library.hpp"

namespace ironrack::http {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPollMs = 100;  // within which a cancel is seen
constexpr std::chrono::milliseconds kProgressInterval{250};
constexpr std::chrono::seconds kSyncInterval{2};
constexpr int kSyncShare = 10;  // at most so small a part of the time is spent on it
constexpr long kRedirects = 5;
constexpr long kConnectSeconds = 10;
constexpr long kReceiveBytes = 256 << 10;

struct Meaning {
  CURLcode code;
  FaultKind kind;
  const char* name;
  Retry retry;
};

/// What is no passing trouble of the network.
constexpr Meaning kMeanings[] = {
    {CURLE_TOO_MANY_REDIRECTS, FaultKind::invalid, "image.redirect", Retry::never},
    {CURLE_UNSUPPORTED_PROTOCOL, FaultKind::invalid, "image.redirect", Retry::never},
    {CURLE_URL_MALFORMAT, FaultKind::invalid, "image.redirect", Retry::never},
    {CURLE_PEER_FAILED_VERIFICATION, FaultKind::refused, "image.tls", Retry::never},
    {CURLE_SSL_CONNECT_ERROR, FaultKind::refused, "image.tls", Retry::later},
    {CURLE_SSL_CACERT_BADFILE, FaultKind::invalid, "image.tls", Retry::never},
    {CURLE_PARTIAL_FILE, FaultKind::unreachable, "image.short", Retry::later},
    {CURLE_OPERATION_TIMEDOUT, FaultKind::timeout, "image.silent", Retry::later},
    {CURLE_OUT_OF_MEMORY, FaultKind::internal, "image.memory", Retry::never},
};

template <typename Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n' || text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

bool is(std::string_view name, std::string_view wanted) {
  return std::ranges::equal(name, wanted, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

/// The last answer's headers: those of redirects and interim answers are forgotten.
struct Head {
  std::string etag;
  std::string last_modified;
  std::optional<std::uint64_t> length;
  std::optional<std::uint64_t> range_start;  // RFC 9110 §14.4
  std::optional<std::uint64_t> range_total;

  void read(std::string_view line) {
    if (line.starts_with("HTTP/")) {
      *this = {};
      return;
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return;
    const auto name = line.substr(0, colon);
    const auto value = trimmed(line.substr(colon + 1));
    if (is(name, "etag")) etag = value;
    else if (is(name, "last-modified")) last_modified = value;
    else if (is(name, "content-length")) length = number<std::uint64_t>(value);
    else if (is(name, "content-range")) read_range(value);
  }

 private:
  void read_range(std::string_view value) {
    if (!value.starts_with("bytes ")) return;
    value.remove_prefix(6);
    const auto dash = value.find('-');
    const auto slash = value.find('/');
    if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) return;
    range_start = number<std::uint64_t>(value.substr(0, dash));
    range_total = number<std::uint64_t>(value.substr(slash + 1));
  }
};

}  // namespace

/// What libcurl's callbacks work on.
struct DownloadAttempt::Exchange {
  const CurlLibrary& curl;
  Download& download;
  const std::function<void(const Progress&)>& on_progress;
  CURL* easy;
  Head head;
  bool begun = false;
  std::optional<Fault> fault;
  std::uint64_t total = 0;
  Clock::time_point heard = Clock::now();
  Clock::time_point told{};
  Clock::time_point sync_due{};

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
    auto* exchange = static_cast<Exchange*>(self);
    exchange->heard = Clock::now();
    exchange->head.read(std::string_view(data, size * count));
    return size * count;
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
    auto* exchange = static_cast<Exchange*>(self);
    exchange->heard = Clock::now();
    return exchange->take({reinterpret_cast<const std::byte*>(data), size * count}) ? size * count : CURL_WRITEFUNC_ERROR;
  }

  [[nodiscard]] long status() const {
    long value = 0;
    curl.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &value);
    return value;
  }

  /// The first bytes of the body say where they belong.
  Result<void> begin() {
    begun = true;
    if (status() == 200) {
      total = head.length.value_or(0);
      return download.begin(0, head.length);
    }
    if (!head.range_start) return fail(FaultKind::protocol, "image.range", "the server sent a part without saying which", Retry::now);
    const auto whole = head.range_total ? head.range_total : head.length ? std::optional(*head.range_start + *head.length) : std::nullopt;
    total = whole.value_or(0);
    return download.begin(*head.range_start, whole);
  }

  bool take(ByteSpan bytes) {
    if (const auto answer = status(); answer != 200 && answer != 206) return true;
    Result<void> taken = begun ? Result<void>{} : begin();
    if (taken) taken = download.append(bytes);
    if (!taken) fault = std::move(taken.error());
    return taken.has_value();
  }

  /// From time to time what came so far is brought to the readers, also when little comes.
  void show() {
    const auto now = Clock::now();
    if (!begun || fault || now - told < kProgressInterval) return;
    told = now;
    auto stored = download.flush();
    if (stored && now >= sync_due) {
      stored = download.sync();
      sync_due = Clock::now() + std::max<Clock::duration>(kSyncInterval, (Clock::now() - now) * kSyncShare);
    }
    if (!stored) fault = std::move(stored.error());
    else tell();
  }

  void tell() const { on_progress({download.received(), total, download.durable(), head.etag, head.last_modified}); }
};

Result<DownloadAttempt::Outcome> DownloadAttempt::run(const std::function<void(const Progress&)>& on_progress) {
  const auto loaded = CurlLibrary::load();
  if (!loaded) return std::unexpected(loaded.error());
  const auto& curl = **loaded;
  const std::unique_ptr<CURL, decltype(curl.easy_cleanup)> easy(curl.easy_init(), curl.easy_cleanup);
  const std::unique_ptr<CURLM, decltype(curl.multi_cleanup)> multi(curl.multi_init(), curl.multi_cleanup);
  if (!easy || !multi) return fail(FaultKind::internal, "image.memory", "no memory for a download");
  std::unique_ptr<curl_slist, decltype(curl.slist_free_all)> headers(nullptr, curl.slist_free_all);
  for (const auto& line : request_.headers) headers.reset(curl.slist_append(headers.release(), line.c_str()));

  auto& download = *request_.download;
  if (auto caught_up = download.catch_up([this] { return !cancelled_.load(std::memory_order_relaxed); }); !caught_up) return std::unexpected(std::move(caught_up.error()));
  Exchange exchange{curl, download, on_progress, easy.get(), {}, false, std::nullopt};
  char words[CURL_ERROR_SIZE] = "";
  const auto set = [&](CURLoption option, auto value) { curl.easy_setopt(easy.get(), option, value); };
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, kRedirects);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(CURLOPT_BUFFERSIZE, kReceiveBytes);
  set(CURLOPT_USERAGENT, "ironrack");
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(words));
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_HEADERFUNCTION, &Exchange::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&exchange));
  set(CURLOPT_WRITEFUNCTION, &Exchange::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&exchange));
  // Not sent on to another server after a redirect; that is libcurl's rule.
  if (!request_.username.empty()) {
    set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    set(CURLOPT_USERNAME, request_.username.c_str());
    set(CURLOPT_PASSWORD, request_.password.c_str());
  }
  if (!request_.ca_file.empty()) set(CURLOPT_CAINFO, request_.ca_file.c_str());

  curl.multi_add_handle(multi.get(), easy.get());
  CURLcode code = CURLE_OK;
  std::optional<Fault> broken;
  for (int running = 1; running > 0;) {
    curl.multi_perform(multi.get(), &running);
    exchange.show();
    if (exchange.fault) break;
    if (cancelled_.load(std::memory_order_relaxed)) broken = Fault{FaultKind::cancelled, "image.cancelled", "the download was cancelled", Retry::never, {}};
    else if (Clock::now() - exchange.heard > std::chrono::milliseconds(request_.silence_ms)) broken = Fault{FaultKind::timeout, "image.silent", "the image server has fallen silent", Retry::later, {}};
    if (broken) break;
    if (running > 0) curl.multi_poll(multi.get(), nullptr, 0, kPollMs, nullptr);
  }
  int left = 0;
  while (const auto* message = curl.multi_info_read(multi.get(), &left)) {
    if (message->msg == CURLMSG_DONE) code = message->data.result;
  }
  curl.multi_remove_handle(multi.get(), easy.get());
  const auto status = exchange.status();
  // What came before a connection broke counts.
  if (exchange.begun && !exchange.fault) {
    if (auto flushed = download.flush(); !flushed) exchange.fault = std::move(flushed.error());
  }
  if (exchange.begun) exchange.tell();
  if (exchange.fault) return std::unexpected(std::move(*exchange.fault));
  if (broken) return std::unexpected(std::move(*broken));
  if (code != CURLE_OK) {
    const std::string what = words[0] != '\0' ? words : curl.easy_strerror(code);
    for (const auto& meaning : kMeanings) {
      if (meaning.code == code) return fail(meaning.kind, meaning.name, what, meaning.retry);
    }
    return fail(FaultKind::unreachable, "image.unreachable", what, Retry::later);
  }
  Outcome outcome{status, download.received(), {}, exchange.head.etag, exchange.head.last_modified};
  if (status != 200 && status != 206) return outcome;
  if (!exchange.begun) {
    if (auto begun = exchange.begin(); !begun) return std::unexpected(std::move(begun.error()));  // an empty body
  }
  auto digest = download.finish();
  if (!digest) return std::unexpected(std::move(digest.error()));
  outcome.bytes = download.received();
  outcome.digest = std::move(*digest);
  exchange.tell();
  return outcome;
}

}  // namespace ironrack::http
