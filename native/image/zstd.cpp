// zstandard (RFC 8878): any number of frames, skippable ones among them.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>

#include "image/unpacker.hpp"
#include "image/zstd_frames.hpp"

namespace ironrack::image {
namespace {

constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kBlockHeaderBytes = 3;

class ZstdUnpacker final : public Unpacker {
 public:
  explicit ZstdUnpacker(FileInput input) : input_(std::move(input)) {}

  Result<std::size_t> read(std::span<std::byte> out) override {
    ZSTD_outBuffer room{out.data(), out.size(), 0};
    while (room.pos < room.size) {
      const auto seen = input_.peek();
      if (!seen) return std::unexpected(seen.error());
      if (seen->empty() && !within_) {
        if (frames_ == 0) return std::unexpected(truncated_stream("zstd", input_.position()));
        break;
      }
      ZSTD_inBuffer from{seen->data(), seen->size(), 0};
      const auto before = room.pos;
      const auto status = ZSTD_decompressStream(context_.get(), &room, &from);
      input_.consume(from.pos);
      if (ZSTD_isError(status)) return std::unexpected(fault(status));
      if (seen->empty() && room.pos == before && status != 0) return std::unexpected(truncated_stream("zstd", input_.position()));
      within_ = status != 0;
      if (!within_) frames_++;
    }
    return room.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  [[nodiscard]] Fault fault(std::size_t status) const {
    switch (ZSTD_getErrorCode(status)) {
      case ZSTD_error_prefix_unknown:
        if (frames_ > 0 && !within_) return trailing_garbage("zstd", input_.position());
        break;
      case ZSTD_error_frameParameter_windowTooLarge:
        return Fault{FaultKind::unsupported, "image.window", "the zstd stream of the image needs a window of more than 128 MiB", Retry::never, {}};
      case ZSTD_error_dictionary_wrong:
        return Fault{FaultKind::unsupported, "image.dictionary", "the zstd stream of the image needs a dictionary of its own", Retry::never, {}};
      default: break;
    }
    return corrupt_stream("zstd", input_.position(), ZSTD_getErrorName(status));
  }

  FileInput input_;
  std::unique_ptr<ZSTD_DCtx, Free> context_{ZSTD_createDCtx()};
  bool within_ = false;
  std::uint64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<Unpacker> unpack_zstd(FileInput input) { return std::make_unique<ZstdUnpacker>(std::move(input)); }

Result<ZstdFrame> find_zstd_frame(const ImageFile& file, std::uint64_t offset) {
  std::array<std::byte, ZSTD_FRAMEHEADERSIZE_MAX> start;
  const auto seen = std::span(start).first(static_cast<std::size_t>(std::min<std::uint64_t>(start.size(), file.size - offset)));
  if (auto read = file.read_at(offset, seen); !read) return std::unexpected(std::move(read.error()));
  ZSTD_frameHeader header;
  const auto status = ZSTD_getFrameHeader(&header, seen.data(), seen.size());
  if (ZSTD_isError(status)) {
    if (offset > 0 && ZSTD_getErrorCode(status) == ZSTD_error_prefix_unknown) return std::unexpected(trailing_garbage("zstd", offset));
    return std::unexpected(corrupt_stream("zstd", offset, ZSTD_getErrorName(status)));
  }
  if (status > 0) return std::unexpected(truncated_stream("zstd", offset));

  ZstdFrame frame{.file_offset = offset};
  auto at = offset;
  if (header.frameType == ZSTD_skippableFrame) {
    frame.content_size = 0;
    at += ZSTD_SKIPPABLEHEADERSIZE + header.frameContentSize;  // there it is the length of the frame
  } else {
    if (header.frameContentSize != ZSTD_CONTENTSIZE_UNKNOWN) frame.content_size = header.frameContentSize;
    frame.window = header.windowSize;
    at += header.headerSize;
    for (bool last = false; !last;) {
      std::array<std::byte, kBlockHeaderBytes> block;
      if (at > file.size || file.size - at < block.size()) return std::unexpected(truncated_stream("zstd", file.size));
      if (auto read = file.read_at(at, block); !read) return std::unexpected(std::move(read.error()));
      const auto bits = static_cast<std::uint32_t>(block[0]) | static_cast<std::uint32_t>(block[1]) << 8 | static_cast<std::uint32_t>(block[2]) << 16;
      last = (bits & 1) != 0;
      const auto type = bits >> 1 & 3;  // 0 raw, 1 one byte repeated, 2 compressed
      if (type == 3) return std::unexpected(corrupt_stream("zstd", at, "a block has the reserved type"));
      at += block.size() + (type == 1 ? 1 : bits >> 3);
    }
    if (header.checksumFlag != 0) at += kChecksumBytes;
  }
  if (at > file.size) return std::unexpected(truncated_stream("zstd", file.size));
  frame.file_length = at - offset;
  return frame;
}

}  // namespace ironrack::image
