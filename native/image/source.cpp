#include "image/source.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "image/format.hpp"

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

Result<std::unique_ptr<Source>> open_source(int fd, std::uint64_t file_size, std::string_view format) {
  std::array<std::byte, kProbeSize> start;
  const auto seen = std::span(start).first(static_cast<std::size_t>(std::min<std::uint64_t>(file_size, start.size())));
  if (auto read = read_at(fd, 0, seen); !read) return std::unexpected(std::move(read.error()));
  const auto content = format_name(probe(seen));
  if (format != "raw" && format != "qcow2") return fail(FaultKind::unsupported, "image.format-unsupported", "images of format " + std::string(format) + " cannot be streamed");
  if (content != format) {
    return std::unexpected(Fault{FaultKind::invalid, "image.format-mismatch", "the image was said to be " + std::string(format) + " but its content is " + std::string(content), Retry::never, {}}
                               .with("said", std::string(format))
                               .with("content", std::string(content)));
  }
  return format == "qcow2" ? open_qcow2(fd, file_size) : open_raw(fd, file_size);
}

}  // namespace ironrack::image
