#include "image/packed.hpp"

#include <algorithm>
#include <array>

#include "image/format.hpp"
#include "image/source.hpp"
#include "image/zstd_frames.hpp"

namespace ironrack::image {
namespace {

constexpr std::uint64_t kLeastSegment = 4 << 20;     // of the disk: a smaller one is not worth an unpacker of its own
constexpr std::uint64_t kGzipBytes = 512 << 10;
constexpr std::uint64_t kBzip2Bytes = 4500 << 10;    // bzip2(1), MEMORY MANAGEMENT: 100k + 4 × 900k, and what is read ahead
constexpr std::uint64_t kZstdBytes = 768 << 10;      // beside the window

/// One stream from the file's begin to its end, of a length that only its end tells.
class WholeFile final : public PackedImage {
 public:
  using Make = std::unique_ptr<Unpacker> (*)(FileInput);
  WholeFile(const ImageFile& file, std::string_view format, std::uint64_t unpacker_bytes, Make make) : file_(file), format_(format), unpacker_bytes_(unpacker_bytes), make_(make) {
    segments_.push_back({0, kUnknownSize, 0, file.size});
  }
  std::string_view format() const override { return format_; }
  std::uint64_t unpacker_bytes() const override { return unpacker_bytes_; }
  Result<std::unique_ptr<Unpacker>> unpack(const Segment& segment) const override { return make_(FileInput(file_, segment.file_offset, segment.file_length)); }

 private:
  ImageFile file_;
  std::string_view format_;
  std::uint64_t unpacker_bytes_;
  Make make_;
};

/// Frames that all tell their size: each can be decoded by itself.
class ZstdFrames final : public PackedImage {
 public:
  explicit ZstdFrames(const ImageFile& file) : file_(file) {}
  void add(const ZstdFrame& frame) {
    window_ = std::max(window_, frame.window);
    add_part(*frame.content_size, frame.file_offset, frame.file_length);
  }
  std::string_view format() const override { return "zstd"; }
  std::uint64_t unpacker_bytes() const override { return window_ + kZstdBytes; }
  Result<std::unique_ptr<Unpacker>> unpack(const Segment& segment) const override { return unpack_zstd(FileInput(file_, segment.file_offset, segment.file_length)); }

 private:
  ImageFile file_;
  std::uint64_t window_ = 0;
};

Result<void> check_content(const PackedImage& image) {
  if (image.virtual_size() == 0) return fail(FaultKind::malformed, "image.empty", "the image is empty");
  auto unpacker = image.unpack(image.segments().front());
  if (!unpacker) return std::unexpected(std::move(unpacker.error()));
  std::array<std::byte, kProbeSize> start;
  const auto count = (*unpacker)->read(start);
  if (!count) return std::unexpected(count.error());
  if (*count == 0) return fail(FaultKind::malformed, "image.empty", "the image is empty");
  const auto content = probe(ByteSpan(start).first(*count));
  if (content == Format::raw) return {};
  return std::unexpected(Fault{FaultKind::invalid, "image.inner-format", "the " + std::string(image.format()) + " stream holds a " + std::string(format_name(content)) + " image; only raw disks are unpacked", Retry::never, {}}
                             .with("content", std::string(format_name(content))));
}

struct Row {
  Format format;
  Result<std::unique_ptr<PackedImage>> (*open)(const ImageFile& file);
};

constexpr Row kRows[] = {{Format::gzip, open_gzip}, {Format::zstd, open_zstd}, {Format::xz, open_xz}, {Format::bzip2, open_bzip2}};

}  // namespace

void PackedImage::add_part(std::uint64_t disk_length, std::uint64_t file_offset, std::uint64_t file_length) {
  if (!segments_.empty()) {
    auto& last = segments_.back();
    if (last.disk_length < kLeastSegment || last.disk_length % kSegmentAlignment != 0) {
      last.disk_length += disk_length;
      last.file_length = file_offset + file_length - last.file_offset;
      return;
    }
  }
  segments_.push_back({segments_.empty() ? 0 : segments_.back().disk_offset + segments_.back().disk_length, disk_length, file_offset, file_length});
}

Result<std::unique_ptr<PackedImage>> open_gzip(const ImageFile& file) { return std::make_unique<WholeFile>(file, "gzip", kGzipBytes, unpack_gzip); }

Result<std::unique_ptr<PackedImage>> open_bzip2(const ImageFile& file) { return std::make_unique<WholeFile>(file, "bzip2", kBzip2Bytes, unpack_bzip2); }

Result<std::unique_ptr<PackedImage>> open_zstd(const ImageFile& file) {
  // Of a file that is still coming, where its frames are is not waited for.
  if (file.arrival) return std::make_unique<WholeFile>(file, "zstd", kZstdBytes, unpack_zstd);
  auto frames = std::make_unique<ZstdFrames>(file);
  for (std::uint64_t offset = 0; offset < file.size;) {
    const auto frame = find_zstd_frame(file, offset);
    if (!frame) return std::unexpected(frame.error());
    if (!frame->content_size) return std::make_unique<WholeFile>(file, "zstd", frame->window + kZstdBytes, unpack_zstd);
    if (*frame->content_size > kUnknownSize / 2 - frames->virtual_size()) return std::unexpected(corrupt_stream("zstd", offset, "a frame states an impossible size"));
    frames->add(*frame);
    offset += frame->file_length;
  }
  return frames;
}

bool is_packed(std::string_view format) {
  return std::ranges::any_of(kRows, [&](const Row& row) { return format_name(row.format) == format; });
}

Result<std::unique_ptr<PackedImage>> open_packed(const ImageFile& file, std::string_view format) {
  if (auto checked = check_format(file, format); !checked) return std::unexpected(std::move(checked.error()));
  const auto row = std::ranges::find_if(kRows, [&](const Row& each) { return format_name(each.format) == format; });
  auto image = row->open(file);
  if (!image) return image;
  if (auto checked = check_content(**image); !checked) return std::unexpected(std::move(checked.error()));
  return image;
}

}  // namespace ironrack::image
