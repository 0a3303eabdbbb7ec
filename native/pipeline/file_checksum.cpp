#include "pipeline/file_checksum.hpp"

#include <algorithm>

#include "bytes/hasher.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;

}  // namespace

FileChecksum::FileChecksum(int file, std::uint64_t size, Checksum expected, Wakeup& wakeup) : file_(file), size_(size), expected_(std::move(expected)), wakeup_(wakeup), thread_([this] { work(); }) {}

FileChecksum::~FileChecksum() {
  stop_.store(true, std::memory_order_relaxed);
  thread_.join();
}

void FileChecksum::work() {
  const auto end = [&](std::optional<Fault> fault) {
    fault_ = std::move(fault);
    over_.store(true, std::memory_order_release);
    wakeup_.wake();
  };
  auto hasher = Hasher::create(expected_.algorithm);
  if (!hasher) return end(std::move(hasher.error()));
  std::vector<std::byte> buffer(kReadBytes);
  for (std::uint64_t offset = 0; offset < size_;) {
    if (stop_.load(std::memory_order_relaxed)) return end(Fault{FaultKind::cancelled, "stream.cancelled", "the stream was cancelled", Retry::never, {}});
    const auto room = std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size_ - offset)));
    if (auto read = image::read_at(file_, offset, room); !read) return end(std::move(read.error()));
    hasher->update(room);
    offset += room.size();
    position_.store(offset, std::memory_order_relaxed);
  }
  const auto found = to_hex(hasher->finish());
  if (found == expected_.value) return end(std::nullopt);
  end(Fault{FaultKind::invalid, "image.checksum-mismatch", "the image's " + expected_.algorithm + " is not the expected one", Retry::never, {}}
          .with("expected", expected_.value)
          .with("found", found));
}

}  // namespace ironrack::pipeline
