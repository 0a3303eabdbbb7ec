#include "image/file_digest.hpp"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "bytes/hasher.hpp"

namespace ironrack::image {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;
constexpr std::chrono::milliseconds kProgressInterval{250};

using Step = std::function<void(std::uint64_t)>;

Result<std::string> digest(int fd, std::uint64_t size, const std::string& algorithm, const std::stop_token& stop, const Step& on_step) {
  auto hasher = Hasher::create(algorithm);
  if (!hasher) return std::unexpected(std::move(hasher.error()));
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  std::vector<std::byte> buffer(kReadBytes);
  for (std::uint64_t offset = 0; offset < size;) {
    if (stop.stop_requested()) return fail(FaultKind::cancelled, "stream.cancelled", "the checksum was no longer asked for");
    const auto room = std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size - offset)));
    if (auto read = read_at(fd, offset, room); !read) return std::unexpected(std::move(read.error()));
    hasher->update(room);
    offset += room.size();
    on_step(offset);
  }
  return to_hex(hasher->finish());
}

}  // namespace

Result<std::string> digest_file(int fd, std::uint64_t size, const std::string& algorithm, const std::stop_token& stop, std::atomic<std::uint64_t>& position) {
  return digest(fd, size, algorithm, stop, [&](std::uint64_t at) { position.store(at, std::memory_order_relaxed); });
}

Result<FileDigest::Outcome> FileDigest::run(const std::function<void(const Progress&)>& on_progress) {
  auto file = open_file(path_);
  if (!file) return std::unexpected(std::move(file.error()));
  const auto size = file->identity.size;
  auto told = std::chrono::steady_clock::now();
  auto value = digest(file->fd.get(), size, algorithm_, stop_.get_token(), [&](std::uint64_t at) {
    const auto now = std::chrono::steady_clock::now();
    if (now - told < kProgressInterval) return;
    told = now;
    on_progress({at, size});
  });
  if (!value) return std::unexpected(std::move(value.error()));
  on_progress({size, size});
  return Outcome{std::move(*value), size};
}

}  // namespace ironrack::image
