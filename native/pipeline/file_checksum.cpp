#include "pipeline/file_checksum.hpp"

#include "image/file_digest.hpp"

namespace ironrack::pipeline {

FileChecksum::FileChecksum(int file, std::uint64_t size, Checksum expected, Wakeup& wakeup) : file_(file), size_(size), expected_(std::move(expected)), wakeup_(wakeup), thread_([this] { work(); }) {}

FileChecksum::~FileChecksum() {
  stop_.request_stop();
  thread_.join();
}

void FileChecksum::work() {
  const auto end = [&](std::optional<Fault> fault) {
    fault_ = std::move(fault);
    over_.store(true, std::memory_order_release);
    wakeup_.wake();
  };
  const auto found = image::digest_file(file_, size_, expected_.algorithm, stop_.get_token(), position_);
  if (!found) return end(found.error());
  if (*found == expected_.value) return end(std::nullopt);
  end(Fault{FaultKind::invalid, "image.checksum-mismatch", "the image's " + expected_.algorithm + " is not the expected one", Retry::never, {}}
          .with("expected", expected_.value)
          .with("found", *found));
}

}  // namespace ironrack::pipeline
