#include "fuzz/packed.hpp"

#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>

#include <cstdlib>

#include "fuzz/memory_file.hpp"
#include "image/packed.hpp"

namespace ironrack::fuzz {
namespace {

constexpr std::size_t kMostOut = 4 << 20;  // a change may ask for more than anybody waits for

using Pack = Bytes (*)(Input& input, const Bytes& data);

Bytes some_data(Input& input) {
  auto data = input.noise(input.one_in(8) ? 40000 : 3000);
  data.resize(data.size() + input.below(20000));
  return data;
}

/// Everything that the unpackers of the segments yield, or a fault.
Result<Bytes> unpack(const image::PackedImage& image, Input& input) {
  Bytes out;
  for (const auto& segment : image.segments()) {
    auto unpacker = image.unpack(segment);
    if (!unpacker) return std::unexpected(std::move(unpacker.error()));
    Bytes room(1 + input.below(8192));
    while (out.size() < kMostOut) {
      const auto count = (*unpacker)->read(room);
      if (!count) return std::unexpected(count.error());
      if (*count > room.size()) std::abort();
      out.insert(out.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(*count));
      if (*count < room.size()) break;
    }
  }
  return out;
}

/// `padding`: the format allows zeroes at the end, in multiples of it; 0: none.
void fuzz_packed(Input& input, std::string_view format, std::uint32_t padding, Pack pack) {
  Bytes data;
  Bytes file;
  for (std::uint32_t i = 1 + input.below(3); i > 0; i--) {
    const auto part = some_data(input);
    data.insert(data.end(), part.begin(), part.end());
    const auto packed = pack(input, part);
    file.insert(file.end(), packed.begin(), packed.end());
  }
  if (padding > 0 && input.one_in(4)) file.resize(file.size() + padding * input.below(20));
  const bool whole = input.one_in(4);
  if (!whole) input.change(file);
  const auto fd = memory_file(file);
  const auto image = image::open_packed({.fd = fd.get(), .size = file.size()}, format);
  if (!image) {
    // Noise may begin like another format, and nothing at all is no image.
    if (whole && !data.empty() && image.error().code != "image.inner-format") std::abort();
    return;
  }
  const auto unpacked = unpack(**image, input);
  if (whole && (!unpacked || *unpacked != data)) std::abort();
}

}  // namespace

void fuzz_gzip(Input& input) {
  fuzz_packed(input, "gzip", 1, [](Input&, const Bytes& data) {
    Bytes out(data.size() * 2 + 4096);
    isal_zstream stream;
    isal_deflate_stateless_init(&stream);
    stream.gzip_flag = IGZIP_GZIP;
    stream.end_of_stream = 1;
    stream.next_in = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(data.data()));
    stream.avail_in = static_cast<std::uint32_t>(data.size());
    stream.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream.avail_out = static_cast<std::uint32_t>(out.size());
    if (isal_deflate_stateless(&stream) != COMP_OK) std::abort();
    out.resize(stream.total_out);
    return out;
  });
}

void fuzz_zstd(Input& input) {
  fuzz_packed(input, "zstd", 0, [](Input& random, const Bytes& data) {
    Bytes out(ZSTD_compressBound(data.size()));
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, random.one_in(2));
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, !random.one_in(3));
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, static_cast<int>(10 + random.below(10)));
    const auto count = ZSTD_compress2(context, out.data(), out.size(), data.data(), data.size());
    ZSTD_freeCCtx(context);
    if (ZSTD_isError(count)) std::abort();
    out.resize(count);
    if (random.one_in(3)) {
      const Bytes skipped = {std::byte{0x5a}, std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18}, std::byte{2}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}, std::byte{2}};
      out.insert(random.one_in(2) ? out.begin() : out.end(), skipped.begin(), skipped.end());
    }
    return out;
  });
}

void fuzz_xz(Input& input) {
  fuzz_packed(input, "xz", 4, [](Input& random, const Bytes& data) {
    Bytes out(lzma_stream_buffer_bound(data.size()) + 4096);
    static constexpr lzma_check kChecks[] = {LZMA_CHECK_NONE, LZMA_CHECK_CRC32, LZMA_CHECK_CRC64, LZMA_CHECK_SHA256};
    lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_easy_encoder(&stream, 0, kChecks[random.below(4)]) != LZMA_OK) std::abort();
    stream.next_in = reinterpret_cast<const std::uint8_t*>(data.data());
    stream.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream.avail_out = out.size();
    for (std::size_t left = data.size(); left > 0;) {
      // Blocks that can be decoded by themselves.
      const auto length = random.one_in(2) ? left : 1 + random.below(static_cast<std::uint32_t>(left));
      stream.avail_in = length;
      if (lzma_code(&stream, LZMA_FULL_FLUSH) != LZMA_STREAM_END) std::abort();
      left -= length;
    }
    if (lzma_code(&stream, LZMA_FINISH) != LZMA_STREAM_END) std::abort();
    const auto count = out.size() - stream.avail_out;
    lzma_end(&stream);
    out.resize(count);
    return out;
  });
}

void fuzz_bzip2(Input& input) {
  fuzz_packed(input, "bzip2", 0, [](Input&, const Bytes& data) {
    Bytes out(data.size() * 2 + 1000);
    auto count = static_cast<unsigned>(out.size());
    if (BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(out.data()), &count, reinterpret_cast<char*>(const_cast<std::byte*>(data.data())), static_cast<unsigned>(data.size()), 1, 0, 0) != BZ_OK) std::abort();
    out.resize(count);
    return out;
  });
}

}  // namespace ironrack::fuzz
