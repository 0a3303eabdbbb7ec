#include "serve/sent_file.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

namespace ironrack::serve {

Result<std::shared_ptr<SentFile>> SentFile::map(UniqueFd file, std::uint64_t size) {
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
    if (data == MAP_FAILED) return std::unexpected(system_fault(FaultKind::storage, "file.unreadable", "the file cannot be mapped", errno));
  }
  return std::shared_ptr<SentFile>(new SentFile(std::move(file), static_cast<const std::byte*>(data), size));
}

SentFile::~SentFile() {
  if (file_ && data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

bool SentFile::shrunk() const {
  struct stat now {};
  return file_ && (::fstat(file_.get(), &now) != 0 || static_cast<std::uint64_t>(now.st_size) < size_);
}

Fault SentFile::unreadable() const {
  if (shrunk()) return {FaultKind::storage, "file.shrunk", "the file became shorter while it was sent", Retry::never, {}};
  return {FaultKind::storage, "file.unreadable", "the file cannot be read", Retry::never, {}};
}

}  // namespace ironrack::serve
