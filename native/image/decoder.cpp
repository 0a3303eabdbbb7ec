#include "image/decoder.hpp"

#include <libdeflate.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

namespace ironrack::image {
namespace {

Fault bad_cluster(const Extent& extent, const char* what) {
  return Fault{FaultKind::malformed, "image.cluster", std::string("a compressed cluster of the image ") + what, Retry::never, {}}.with("offset", extent.offset);
}

}  // namespace

struct Decoder::Contexts {
  struct FreeDeflate {
    void operator()(libdeflate_decompressor* context) const { libdeflate_free_decompressor(context); }
  };
  struct FreeZstd {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<libdeflate_decompressor, FreeDeflate> deflate{libdeflate_alloc_decompressor()};
  std::unique_ptr<ZSTD_DCtx, FreeZstd> zstd{ZSTD_createDCtx()};
  std::vector<std::byte> input;
  std::vector<std::byte> whole;  // a last cluster that reaches beyond the disk's end

  Result<void> inflate(const Extent& extent, std::span<std::byte> out) {
    std::size_t consumed = 0;
    std::size_t produced = 0;
    const auto result = libdeflate_deflate_decompress_ex(deflate.get(), input.data(), input.size(), out.data(), out.size(), &consumed, &produced);
    if (result != LIBDEFLATE_SUCCESS || produced != out.size()) return std::unexpected(bad_cluster(extent, "does not inflate to a cluster"));
    return {};
  }

  Result<void> unzstd(const Extent& extent, std::span<std::byte> out) {
    // The input may be longer than its frames (padding to a sector), so they are measured first; the simple call then writes straight into `out`.
    std::size_t begin = 0;
    std::size_t produced = 0;
    while (produced < out.size()) {
      const auto size = ZSTD_findFrameCompressedSize(input.data() + begin, input.size() - begin);
      if (ZSTD_isError(size)) return std::unexpected(bad_cluster(extent, "holds no zstandard frame"));
      const auto count = ZSTD_decompressDCtx(zstd.get(), out.data() + produced, out.size() - produced, input.data() + begin, size);
      if (ZSTD_isError(count) || count == 0) return std::unexpected(bad_cluster(extent, "does not decompress to a cluster"));
      produced += count;
      begin += size;
    }
    return {};
  }
};

Decoder::Decoder() : contexts_(std::make_unique<Contexts>()) {}
Decoder::~Decoder() = default;

Result<void> Decoder::decode(const Extent& extent, int file, std::uint32_t unit, std::span<std::byte> out) {
  if (extent.kind == ExtentKind::zero) {
    std::ranges::fill(out, std::byte{0});
    return {};
  }
  if (extent.kind == ExtentKind::file) return read_at(file, extent.file_offset, out);

  auto& contexts = *contexts_;
  contexts.input.resize(extent.file_length);
  if (auto read = read_at(file, extent.file_offset, contexts.input); !read) return read;
  std::span<std::byte> cluster = out;
  if (out.size() < unit) {
    contexts.whole.resize(unit);
    cluster = contexts.whole;
  }
  auto decoded = extent.kind == ExtentKind::deflate ? contexts.inflate(extent, cluster) : contexts.unzstd(extent, cluster);
  if (!decoded) return decoded;
  if (out.size() < unit) std::ranges::copy(cluster.first(out.size()), out.begin());
  return {};
}

}  // namespace ironrack::image
