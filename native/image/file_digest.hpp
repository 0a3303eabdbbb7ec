// The digest of a whole file, computed on the caller's thread.
#pragma once

#include <atomic>
#include <functional>
#include <stop_token>
#include <string>

#include "image/image_file.hpp"

namespace ironrack::image {

/// In lower-case hexadecimal. `position` is kept at the bytes that were read so far.
Result<std::string> digest_file(int fd, std::uint64_t size, const std::string& algorithm, const std::stop_token& stop, std::atomic<std::uint64_t>& position);

/// As a job that tells how far it is.
class FileDigest {
 public:
  struct Progress {
    std::uint64_t bytes = 0;
    std::uint64_t total = 0;
  };
  struct Outcome {
    std::string value;
    std::uint64_t bytes = 0;
  };

  FileDigest(std::string path, std::string algorithm) : path_(std::move(path)), algorithm_(std::move(algorithm)) {}

  Result<Outcome> run(const std::function<void(const Progress&)>& on_progress);
  /// From any thread; run() then returns within moments.
  void cancel() { stop_.request_stop(); }

 private:
  std::string path_;
  std::string algorithm_;
  std::stop_source stop_;
};

}  // namespace ironrack::image
