#include "http/download.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ironrack::http {
namespace {

constexpr std::size_t kBufferBytes = 256 << 10;
constexpr std::size_t kHoleBytes = 64 << 10;  // whole zeroes of this size and place stay holes

Fault storage_fault(std::string_view what, int error) {
  if (error == ENOSPC || error == EDQUOT) return system_fault(FaultKind::storage, "image.space", "the disk has no room for the image", error);
  return system_fault(FaultKind::storage, "image.storage", what, error);
}

/// The file for readers, from which nothing may be read yet.
Result<std::shared_ptr<const image::ArrivingFile>> arriving_file(int fd, std::uint64_t total) {
  auto file = std::make_shared<image::ArrivingFile>();
  file->fd = UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!file->fd) return std::unexpected(storage_fault("the image's file cannot be opened twice", errno));
  file->arrival = std::make_shared<image::Arrival>(total);
  return file;
}

Fault changed() { return Fault{FaultKind::conflict, "image.changed", "the image changed on its server while it was downloaded", Retry::later, {}}; }

bool all_zero(ByteSpan bytes) { return bytes.front() == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0; }

}  // namespace

Result<std::shared_ptr<Download>> Download::create(const std::string& path, std::optional<Expected> expected) {
  std::shared_ptr<Download> download(new Download(std::move(expected)));
  download->fd_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!download->fd_) return std::unexpected(storage_fault("the image's file cannot be made", errno));
  download->buffer_.reserve(kBufferBytes);
  if (auto made = download->make_hasher(); !made) return std::unexpected(std::move(made.error()));
  return download;
}

Result<std::shared_ptr<Download>> Download::reopen(const std::string& path, std::optional<Expected> expected, std::uint64_t bytes, std::uint64_t total) {
  std::shared_ptr<Download> download(new Download(std::move(expected)));
  download->fd_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!download->fd_) return std::unexpected(storage_fault("the image's file cannot be opened again", errno));
  // Behind the mark may be what never reached the disk, or what would not be a hole.
  if (bytes > total || ::ftruncate(download->fd_.get(), static_cast<off_t>(bytes)) != 0 || ::ftruncate(download->fd_.get(), static_cast<off_t>(total)) != 0) return std::unexpected(storage_fault("the image's file cannot be cut to what is known of it", errno));
  download->buffer_.reserve(kBufferBytes);
  if (auto made = download->make_hasher(); !made) return std::unexpected(std::move(made.error()));
  auto file = arriving_file(download->fd_.get(), total);
  if (!file) return std::unexpected(std::move(file.error()));
  (*file)->arrival->advance(bytes);
  download->arriving_ = std::move(*file);
  download->total_ = total;
  download->received_ = download->durable_ = download->shown_ = bytes;
  download->undigested_ = download->hasher_ ? bytes : 0;
  return download;
}

Result<void> Download::catch_up(const std::function<bool()>& step) {
  if (undigested_ == 0) return {};
  std::vector<std::byte> piece(1 << 20);
  for (std::uint64_t at = 0; at < undigested_;) {
    if (!step()) return fail(FaultKind::cancelled, "image.cancelled", "the download was cancelled");
    const auto room = std::span(piece).first(static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), undigested_ - at)));
    if (auto read = image::read_at(fd_.get(), at, room); !read) return read;
    hasher_->update(room);
    at += room.size();
  }
  undigested_ = 0;
  return {};
}

std::shared_ptr<const image::ArrivingFile> Download::arriving() const {
  const std::lock_guard lock(mutex_);
  return arriving_;
}

Result<void> Download::make_hasher() {
  if (!expected_) return {};
  auto hasher = Hasher::create(expected_->algorithm);
  if (!hasher) return std::unexpected(std::move(hasher.error()));
  hasher_.emplace(std::move(*hasher));
  return {};
}

Result<void> Download::begin(std::uint64_t offset, std::optional<std::uint64_t> total) {
  if (offset == received_ && offset > 0 && total == total_) return {};
  if (offset != 0) return fail(FaultKind::protocol, "image.range", "the server sent another part than was asked for", Retry::now);
  received_ = durable_ = undigested_ = 0;
  if (auto made = make_hasher(); !made) return made;
  // Sent once more from its beginning: what readers have seen is compared, not written again.
  if (shown_ > 0 && total == total_) return {};
  return clear(total);
}

/// An empty file of the new size, and readers of the old one are told.
Result<void> Download::clear(std::optional<std::uint64_t> total) {
  abandon(changed());
  received_ = 0;
  shown_ = 0;
  total_ = total;
  if (::ftruncate(fd_.get(), 0) != 0) return std::unexpected(storage_fault("the image's file cannot be emptied", errno));
  if (!total) {
    const std::lock_guard lock(mutex_);
    arriving_.reset();
    return {};
  }
  struct statvfs room;
  if (::fstatvfs(fd_.get(), &room) == 0 && room.f_bavail * room.f_frsize < *total) {
    return std::unexpected(Fault{FaultKind::storage, "image.space", "the image has " + std::to_string(*total) + " bytes and its directory room for " + std::to_string(room.f_bavail * room.f_frsize) + "; free some, or make image.cache_size smaller", Retry::never, {}}.with("bytes", *total));
  }
  if (::ftruncate(fd_.get(), static_cast<off_t>(*total)) != 0) return std::unexpected(storage_fault("the image's file cannot be made as large", errno));
  auto file = arriving_file(fd_.get(), *total);
  if (!file) return std::unexpected(std::move(file.error()));
  const std::lock_guard lock(mutex_);
  arriving_ = std::move(*file);
  return {};
}

Result<void> Download::append(ByteSpan bytes) {
  if (total_ && bytes.size() > *total_ - received_ - buffer_.size()) return fail(FaultKind::protocol, "image.long", "the server sent more than it said", Retry::later);
  while (!bytes.empty()) {
    // Up to the next multiple, so that holes are found where readers look for them.
    const auto capacity = kBufferBytes - received_ % kBufferBytes;
    const auto count = std::min<std::size_t>(bytes.size(), capacity - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (buffer_.size() < capacity) return {};
    if (auto flushed = flush(); !flushed) return flushed;
  }
  return {};
}

Result<void> Download::flush() {
  const ByteSpan bytes(buffer_);
  const auto known = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), shown_ > received_ ? shown_ - received_ : 0));
  auto stored = compare(received_, bytes.first(known));
  if (stored) stored = write(received_ + known, bytes.subspan(known));
  if (!stored) {
    buffer_.clear();
    return stored;
  }
  if (hasher_) hasher_->update(bytes);
  received_ += bytes.size();
  buffer_.clear();
  const std::lock_guard lock(mutex_);
  if (arriving_ && received_ > shown_) {
    shown_ = received_;
    arriving_->arrival->advance(shown_);
  }
  return {};
}

Result<void> Download::compare(std::uint64_t offset, ByteSpan bytes) {
  if (bytes.empty()) return {};
  std::vector<std::byte> there(bytes.size());
  if (auto read = image::read_at(fd_.get(), offset, there); !read) return read;
  if (std::ranges::equal(there, bytes)) return {};
  // Another image from here on. Who has read the first is told; what follows is read as new.
  abandon(changed());
  if (::ftruncate(fd_.get(), static_cast<off_t>(offset)) != 0 || ::ftruncate(fd_.get(), static_cast<off_t>(*total_)) != 0) return std::unexpected(storage_fault("the image's file cannot be emptied", errno));
  auto file = arriving_file(fd_.get(), *total_);
  if (!file) return std::unexpected(std::move(file.error()));
  (*file)->arrival->advance(offset);
  shown_ = offset;
  {
    const std::lock_guard lock(mutex_);
    arriving_ = std::move(*file);
  }
  return write(offset, bytes);
}

Result<void> Download::write(std::uint64_t offset, ByteSpan bytes) {
  while (!bytes.empty()) {
    // Runs of what is no hole, as long as they are.
    std::size_t length = 0;
    const auto piece_at = [&](std::size_t at) { return std::min(bytes.size() - at, kHoleBytes - static_cast<std::size_t>((offset + at) % kHoleBytes)); };
    const auto is_hole = [&](std::size_t at) { return total_ && piece_at(at) == kHoleBytes && all_zero(bytes.subspan(at, kHoleBytes)); };
    if (is_hole(0)) {
      offset += kHoleBytes;
      bytes = bytes.subspan(kHoleBytes);
      continue;
    }
    while (length < bytes.size() && !is_hole(length)) length += piece_at(length);
    for (std::size_t done = 0; done < length;) {
      const auto count = ::pwrite(fd_.get(), bytes.data() + done, length - done, static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return std::unexpected(storage_fault("the image cannot be written", errno));
      done += static_cast<std::size_t>(count);
    }
    offset += length;
    bytes = bytes.subspan(length);
  }
  return {};
}

Result<void> Download::sync() {
  if (auto flushed = flush(); !flushed) return flushed;
  if (::fdatasync(fd_.get()) != 0) return std::unexpected(storage_fault("the image cannot be brought to the disk", errno));
  durable_ = received_;
  return {};
}

Result<std::string> Download::finish() {
  if (auto flushed = flush(); !flushed) return std::unexpected(std::move(flushed.error()));
  if (total_ && received_ != *total_) return fail(FaultKind::unreachable, "image.short", "the connection ended after " + std::to_string(received_) + " of " + std::to_string(*total_) + " bytes", Retry::later);
  if (auto synced = sync(); !synced) return std::unexpected(std::move(synced.error()));
  const auto digest = hasher_ ? to_hex(hasher_->finish()) : std::string();
  const auto file = arriving();
  if (file && expected_ && digest != expected_->value) {
    file->arrival->fail(Fault{FaultKind::invalid, "image.checksum", "the " + expected_->algorithm + " of the image is " + digest + ", not " + expected_->value, Retry::never, {}}.with("expected", expected_->value).with("actual", digest));
  } else if (file) {
    file->arrival->complete();
  }
  return digest;
}

void Download::abandon(Fault fault) {
  const std::lock_guard lock(mutex_);
  if (arriving_) arriving_->arrival->fail(std::move(fault));
}

void Download::close() {
  const std::lock_guard lock(mutex_);
  arriving_.reset();
  fd_ = UniqueFd();
}

}  // namespace ironrack::http
