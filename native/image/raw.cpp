// Raw images: the file is the disk; its holes are found with SEEK_DATA.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "image/source.hpp"

namespace ironrack::image {
namespace {

// A shorter hole costs less to send as zeroes than to split a command for.
constexpr std::uint64_t kLeastHole = 65536;

class RawSource final : public Source {
 public:
  RawSource(int fd, std::uint64_t size) : fd_(fd), size_(size) {}

  std::string_view format() const override { return "raw"; }
  std::uint64_t virtual_size() const override { return size_; }
  std::uint32_t decode_unit() const override { return 0; }
  int file() const override { return fd_; }

  Result<Extent> extent_at(std::uint64_t offset) override {
    if (offset < known_.offset || offset >= known_.offset + known_.length) {
      auto found = find(offset);
      if (!found) return found;
      known_ = *found;
    }
    const auto end = known_.offset + known_.length;
    return Extent{offset, end - offset, known_.kind, known_.kind == ExtentKind::file ? offset : 0, 0};
  }

 private:
  Result<Extent> find(std::uint64_t offset) {
    const auto data = seek(offset, SEEK_DATA);
    if (!data) return std::unexpected(data.error());
    if (*data - offset >= kLeastHole || *data == size_) return Extent{offset, *data - offset, ExtentKind::zero, 0, 0};
    std::uint64_t end = *data;
    while (end < size_) {
      const auto hole = seek(end, SEEK_HOLE);
      if (!hole) return std::unexpected(hole.error());
      end = *hole;
      if (end >= size_) break;
      const auto next = seek(end, SEEK_DATA);
      if (!next) return std::unexpected(next.error());
      if (*next - end >= kLeastHole || *next == size_) break;
      end = *next;
    }
    return Extent{offset, end - offset, ExtentKind::file, offset, 0};
  }

  Result<std::uint64_t> seek(std::uint64_t offset, int whence) {
    const auto at = ::lseek(fd_, static_cast<off_t>(offset), whence);
    if (at >= 0) return std::min(static_cast<std::uint64_t>(at), size_);
    if (errno == ENXIO) return size_;                                    // no data behind, or the end
    if (errno == EINVAL) return whence == SEEK_DATA ? offset : size_;    // a block device knows no holes
    return std::unexpected(system_fault(FaultKind::storage, "image.seek", "the image's holes cannot be found", errno).with("offset", offset));
  }

  int fd_;
  std::uint64_t size_;
  Extent known_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_raw(int fd, std::uint64_t file_size) {
  if (file_size == 0) return fail(FaultKind::malformed, "image.empty", "the image is empty");
  return std::make_unique<RawSource>(fd, file_size);
}

}  // namespace ironrack::image
