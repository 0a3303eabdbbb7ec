// One request for an image, or for the rest of one: a job that ends with the server's answer or with what came in its way.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/download.hpp"

namespace ironrack::http {

struct AttemptRequest {
  std::shared_ptr<Download> download;
  std::string url;  // http or https, without user and password
  std::string username;
  std::string password;
  std::vector<std::string> headers;  // "name: value"
  std::string ca_file;               // empty: the system's
  std::uint64_t silence_ms = 60'000;
};

class DownloadAttempt {
 public:
  struct Progress {
    std::uint64_t bytes = 0;
    std::uint64_t total = 0;    // 0: unknown
    std::uint64_t durable = 0;  // of `bytes`: what a loss of power leaves
    std::string etag;
    std::string last_modified;
  };
  struct Outcome {
    long status = 0;
    std::uint64_t bytes = 0;
    std::string digest;  // of a whole image that has a checksum
    std::string etag;
    std::string last_modified;
  };

  explicit DownloadAttempt(AttemptRequest request) : request_(std::move(request)) {}

  /// Of an answer other than 200 and 206 the body is not looked at. @faults unreachable, timeout, refused (TLS), invalid (redirects), storage
  Result<Outcome> run(const std::function<void(const Progress&)>& on_progress);
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  struct Exchange;
  AttemptRequest request_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace ironrack::http
