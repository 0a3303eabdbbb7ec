#include "image/image_file.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>

namespace ironrack::image {

Result<FileIdentity> identify(int fd) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return std::unexpected(system_fault(FaultKind::storage, "image.stat", "the image file cannot be examined", errno));
  FileIdentity identity{static_cast<std::uint64_t>(info.st_size), info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  if (S_ISBLK(info.st_mode)) {
    if (::ioctl(fd, BLKGETSIZE64, &identity.size) != 0) return std::unexpected(system_fault(FaultKind::storage, "image.stat", "the block device does not tell its size", errno));
  } else if (!S_ISREG(info.st_mode)) {
    return fail(FaultKind::invalid, "image.not-a-file", "the image is neither a regular file nor a block device");
  }
  return identity;
}

Result<OpenedFile> open_file(const std::string& path) {
  OpenedFile out;
  // O_NONBLOCK: a FIFO in place of the image must not hang us; it means nothing for files.
  out.fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!out.fd) {
    const int error = errno;
    return std::unexpected(system_fault(error == ENOENT ? FaultKind::not_found : FaultKind::storage, "image.open", "the image cannot be opened", error).with("path", path));
  }
  auto identity = identify(out.fd.get());
  if (!identity) return std::unexpected(std::move(identity.error()).with("path", path));
  out.identity = *identity;
  return out;
}

Result<void> read_at(int fd, std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const auto count = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(system_fault(FaultKind::storage, "image.read", "the image cannot be read", errno).with("offset", offset));
    }
    if (count == 0) return std::unexpected(Fault{FaultKind::malformed, "image.truncated", "the image file ends where it should have more", Retry::never, {}}.with("offset", offset));
    offset += static_cast<std::uint64_t>(count);
    out = out.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<std::uint64_t> ImageFile::wait_for(std::uint64_t end) const {
  if (!arrival) return size;
  return arrival->wait_for(end, stop);
}

Result<void> ImageFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (const auto there = wait_for(offset + out.size()); !there) return std::unexpected(there.error());
  return image::read_at(fd, offset, out);
}

}  // namespace ironrack::image
