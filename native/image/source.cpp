#include "image/source.hpp"

#include <algorithm>
#include <array>

#include "image/convertible.hpp"
#include "image/format.hpp"

namespace ironrack::image {

Result<void> check_format(const ImageFile& file, std::string_view format) {
  std::array<std::byte, kProbeSize> start;
  const auto seen = std::span(start).first(static_cast<std::size_t>(std::min<std::uint64_t>(file.size, start.size())));
  if (auto read = file.read_at(0, seen); !read) return read;
  const auto content = format_name(probe(seen));
  if (content == format) return {};
  return std::unexpected(Fault{FaultKind::invalid, "image.format-mismatch", "the image was said to be " + std::string(format) + " but its content is " + std::string(content), Retry::never, {}}
                             .with("said", std::string(format))
                             .with("content", std::string(content)));
}

Result<std::unique_ptr<Source>> open_source(const ImageFile& file, std::string_view format) {
  if (is_convertible(format)) {
    const auto name = std::string(format);
    return fail(FaultKind::unsupported, "image.convert-first", name + " images are not streamed as they are: the daemon converts them first; by hand: qemu-img convert -f " + name + " -O qcow2 IMAGE IMAGE.qcow2");
  }
  if (format != "raw" && format != "qcow2") return fail(FaultKind::unsupported, "image.format-unsupported", "images of format " + std::string(format) + " cannot be streamed");
  if (auto checked = check_format(file, format); !checked) return std::unexpected(std::move(checked.error()));
  return format == "qcow2" ? open_qcow2(file) : open_raw(file);
}

}  // namespace ironrack::image
