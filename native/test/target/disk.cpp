#include "test/target/disk.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace target {

Disk::Disk(const std::string& path, bool cached) : cached_(cached) {
  if (!path.empty()) file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

Disk::~Disk() {
  if (file_ >= 0) ::close(file_);
}

bool Disk::write(const unsigned char* from, std::size_t length, std::uint64_t offset) {
  if (file_ < 0) return true;
  if (!cached_) return ::pwrite(file_, from, length, static_cast<off_t>(offset)) == static_cast<ssize_t>(length);
  const std::lock_guard lock(mutex_);
  cache_.emplace_back(offset, std::vector<unsigned char>(from, from + length));
  return true;
}

bool Disk::zero(std::uint64_t offset, std::uint64_t length) {
  const std::vector<unsigned char> zeros(65536);
  while (length > 0) {
    const auto piece = std::min<std::uint64_t>(length, zeros.size());
    if (!write(zeros.data(), piece, offset)) return false;
    offset += piece;
    length -= piece;
  }
  return true;
}

bool Disk::read(unsigned char* to, std::size_t length, std::uint64_t offset) {
  if (file_ < 0) return true;
  if (::pread(file_, to, length, static_cast<off_t>(offset)) < 0) return false;
  const std::lock_guard lock(mutex_);
  for (const auto& [begin, bytes] : cache_) {
    const auto first = std::max(begin, offset);
    const auto last = std::min(begin + bytes.size(), offset + length);
    if (first < last) std::memcpy(to + (first - offset), bytes.data() + (first - begin), last - first);
  }
  return true;
}

bool Disk::synchronize() {
  const std::lock_guard lock(mutex_);
  for (const auto& [offset, bytes] : cache_) {
    if (::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes.size())) return false;
  }
  cache_.clear();
  return true;
}

Disk& Disks::open(const std::string& path, bool cached) {
  const std::lock_guard lock(mutex_);
  return disks_.try_emplace(path, path, cached).first->second;
}

}  // namespace target
