#include "image/convertible.hpp"

#include <algorithm>
#include <vector>

#include "image/source.hpp"

namespace ironrack::image {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;

struct Row {
  std::string_view format;
  Result<Convertible> (*check)(const ImageFile&);
};

constexpr Row kRows[] = {{"vmdk", check_vmdk}, {"vhdx", check_vhdx}, {"vdi", check_vdi}};

}  // namespace

bool is_convertible(std::string_view format) { return std::ranges::find(kRows, format, &Row::format) != std::end(kRows); }

Result<Convertible> check_convertible(const ImageFile& file, std::string_view format) {
  const auto row = std::ranges::find(kRows, format, &Row::format);
  if (row == std::end(kRows)) return fail(FaultKind::unsupported, "image.format-unsupported", "images of format " + std::string(format) + " are not converted");
  if (auto checked = check_format(file, format); !checked) return std::unexpected(std::move(checked.error()));
  return row->check(file);
}

Result<Convertible> ConvertibleCheck::run(const std::function<void(const Progress&)>&) {
  const auto opened = open_file(path_);
  if (!opened) return std::unexpected(opened.error());
  return check_convertible({.fd = opened->fd.get(), .size = opened->identity.size, .arrival = {}, .stop = stop_.get_token()}, format_);
}

Result<void> TableWalk::each(std::uint64_t offset, std::uint64_t count, std::size_t size, const std::function<Result<void>(std::uint64_t, const std::byte*)>& entry) const {
  if (auto there = within(offset, count * size); !there) return there;
  std::vector<std::byte> piece(kPieceBytes / size * size);
  for (std::uint64_t index = 0; index < count;) {
    if (file_.stop.stop_requested()) return fail(FaultKind::cancelled, "image.cancelled", "the image's tables are no longer asked for");
    const auto entries = std::min<std::uint64_t>(piece.size() / size, count - index);
    const auto room = std::span(piece).first(static_cast<std::size_t>(entries) * size);
    if (auto read = file_.read_at(offset + index * size, room); !read) return read;
    for (std::uint64_t i = 0; i < entries; i++) {
      if (auto taken = entry(index + i, &room[static_cast<std::size_t>(i) * size]); !taken) return taken;
    }
    index += entries;
  }
  return {};
}

Result<void> TableWalk::within(std::uint64_t offset, std::uint64_t needed) const {
  if (offset <= file_.size && needed <= file_.size - offset) return {};
  return std::unexpected(Fault{FaultKind::malformed, "image.truncated", "the image file ends where it should have more", Retry::never, {}}.with("offset", offset));
}

}  // namespace ironrack::image
