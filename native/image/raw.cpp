// Raw images: the file is the disk; its holes are found with SEEK_DATA.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "image/source.hpp"

namespace ironrack::image {
namespace {

// A shorter hole costs less to send as zeroes than to split a command for.
constexpr std::uint64_t kLeastHole = 65536;
// Of a file that is still being written, so much is waited for before the next piece is handed out.
constexpr std::uint64_t kLeastRun = 1 << 20;

class RawSource final : public Source {
 public:
  explicit RawSource(ImageFile file) : file_(std::move(file)) {}

  std::string_view format() const override { return "raw"; }
  std::uint64_t virtual_size() const override { return file_.size; }
  std::uint32_t decode_unit() const override { return 0; }
  int file() const override { return file_.fd; }

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
    // What has not come yet looks like a hole.
    const auto there = file_.wait_for(std::min(file_.size, offset + kLeastRun));
    if (!there) return std::unexpected(there.error());
    const auto end = *there;
    const auto data = seek(offset, end, SEEK_DATA);
    if (!data) return std::unexpected(data.error());
    if (*data - offset >= kLeastHole || *data == end) return Extent{offset, *data - offset, ExtentKind::zero, 0, 0};
    std::uint64_t at = *data;
    while (at < end) {
      const auto hole = seek(at, end, SEEK_HOLE);
      if (!hole) return std::unexpected(hole.error());
      at = *hole;
      if (at >= end) break;
      const auto next = seek(at, end, SEEK_DATA);
      if (!next) return std::unexpected(next.error());
      if (*next - at >= kLeastHole || *next == end) break;
      at = *next;
    }
    return Extent{offset, at - offset, ExtentKind::file, offset, 0};
  }

  Result<std::uint64_t> seek(std::uint64_t offset, std::uint64_t end, int whence) {
    const auto at = ::lseek(file_.fd, static_cast<off_t>(offset), whence);
    if (at >= 0) return std::min(static_cast<std::uint64_t>(at), end);
    if (errno == ENXIO) return end;                                    // no data behind, or the end
    if (errno == EINVAL) return whence == SEEK_DATA ? offset : end;    // a block device knows no holes
    return std::unexpected(system_fault(FaultKind::storage, "image.seek", "the image's holes cannot be found", errno).with("offset", offset));
  }

  ImageFile file_;
  Extent known_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_raw(const ImageFile& file) {
  if (file.size == 0) return fail(FaultKind::malformed, "image.empty", "the image is empty");
  return std::make_unique<RawSource>(file);
}

}  // namespace ironrack::image
