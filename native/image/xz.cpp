// xz: the index at the file's end tells where its blocks are and how large the disk is; each block is decoded by itself.
#include <lzma.h>

#include <algorithm>
#include <array>

#include "image/packed.hpp"

namespace ironrack::image {
namespace {

constexpr std::uint64_t kIndexMemory = 32 << 20;     // a block of 24 MiB takes 16 bytes of it
constexpr std::uint64_t kMostMemory = 160 << 20;     // of a decoder: xz -9 needs 65 MiB

class LzmaStream {
 public:
  LzmaStream() = default;
  ~LzmaStream() { lzma_end(&stream); }
  LzmaStream(const LzmaStream&) = delete;
  LzmaStream& operator=(const LzmaStream&) = delete;

  lzma_stream stream = LZMA_STREAM_INIT;
};

struct FreeIndex {
  void operator()(lzma_index* index) const { lzma_index_end(index, nullptr); }
};
using Index = std::shared_ptr<const lzma_index>;

Fault xz_fault(lzma_ret status, std::uint64_t file_offset) {
  switch (status) {
    case LZMA_OPTIONS_ERROR: return Fault{FaultKind::unsupported, "image.xz-filter", "the xz stream of the image uses a filter or an option that is unknown here", Retry::never, {}}.with("file_offset", file_offset);
    case LZMA_MEMLIMIT_ERROR: return Fault{FaultKind::unsupported, "image.window", "the xz stream of the image needs too much memory", Retry::never, {}};
    case LZMA_MEM_ERROR: return Fault{FaultKind::internal, "image.memory", "there is no memory for an xz decoder", Retry::later, {}};
    case LZMA_BUF_ERROR: return truncated_stream("xz", file_offset);
    case LZMA_FORMAT_ERROR: return corrupt_stream("xz", file_offset, "it does not begin or end as an xz stream: it was cut off, or something else was put behind it");
    default: return corrupt_stream("xz", file_offset, "its data or checksums are wrong");
  }
}

Result<Index> read_index(const ImageFile& file) {
  LzmaStream lzma;
  lzma_index* index = nullptr;
  if (const auto status = lzma_file_info_decoder(&lzma.stream, &index, kIndexMemory, file.size); status != LZMA_OK) return std::unexpected(xz_fault(status, 0));
  std::array<std::byte, 16384> buffer;
  std::uint64_t offset = 0;
  while (true) {
    if (lzma.stream.avail_in == 0 && offset < file.size) {
      const auto room = std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), file.size - offset)));
      if (auto read = file.read_at(offset, room); !read) return std::unexpected(std::move(read.error()));
      offset += room.size();
      lzma.stream.next_in = reinterpret_cast<const std::uint8_t*>(room.data());
      lzma.stream.avail_in = room.size();
    }
    const auto status = lzma_code(&lzma.stream, offset == file.size && lzma.stream.avail_in == 0 ? LZMA_FINISH : LZMA_RUN);
    if (status == LZMA_SEEK_NEEDED) {
      offset = lzma.stream.seek_pos;
      lzma.stream.avail_in = 0;
    } else if (status == LZMA_STREAM_END) {
      return Index(index, FreeIndex());
    } else if (status != LZMA_OK) {
      return std::unexpected(xz_fault(status, offset - lzma.stream.avail_in));
    }
  }
}

/// The filters of a block, whose options the library allocates.
struct Filters {
  Filters() { list[0].id = LZMA_VLI_UNKNOWN; }
  ~Filters() { lzma_filters_free(list.data(), nullptr); }
  Filters(const Filters&) = delete;
  Filters& operator=(const Filters&) = delete;

  std::array<lzma_filter, LZMA_FILTERS_MAX + 1> list{};
};

Result<void> decode_block_header(const ImageFile& file, const lzma_index_iter& at, lzma_block& block, Filters& filters) {
  const std::uint64_t offset = at.block.compressed_file_offset;
  std::array<std::byte, LZMA_BLOCK_HEADER_SIZE_MAX> header;
  if (auto read = file.read_at(offset, std::span(header).first(1)); !read) return read;
  block.version = 1;
  block.check = at.stream.flags->check;
  block.filters = filters.list.data();
  block.header_size = lzma_block_header_size_decode(static_cast<std::uint8_t>(header[0]));
  if (header[0] == std::byte{0}) return std::unexpected(xz_fault(LZMA_DATA_ERROR, offset));
  if (auto read = file.read_at(offset, std::span(header).first(block.header_size)); !read) return read;
  auto status = lzma_block_header_decode(&block, nullptr, reinterpret_cast<const std::uint8_t*>(header.data()));
  if (status == LZMA_OK) status = lzma_block_compressed_size(&block, at.block.unpadded_size);
  if (status != LZMA_OK) return std::unexpected(xz_fault(status, offset));
  if (block.uncompressed_size != LZMA_VLI_UNKNOWN && block.uncompressed_size != at.block.uncompressed_size) return std::unexpected(xz_fault(LZMA_DATA_ERROR, offset));
  block.uncompressed_size = at.block.uncompressed_size;
  if (lzma_check_is_supported(block.check) == 0) return fail(FaultKind::unsupported, "image.xz-check", "the xz stream of the image has a kind of checksum that is unknown here");
  // UINT64_MAX for filters that it does not know: these are too much as well.
  if (lzma_raw_decoder_memusage(filters.list.data()) > kMostMemory) return std::unexpected(xz_fault(LZMA_MEMLIMIT_ERROR, offset));
  return {};
}

class XzUnpacker final : public Unpacker {
 public:
  XzUnpacker(const ImageFile& file, Index index, const Segment& segment) : file_(file), index_(std::move(index)), next_(segment.disk_offset), end_(segment.disk_offset + segment.disk_length), input_(file, 0, 0) {}

  Result<std::size_t> read(std::span<std::byte> out) override {
    std::size_t filled = 0;
    while (filled < out.size()) {
      if (!within_) {
        if (next_ >= end_) break;
        if (auto begun = begin_block(); !begun) return std::unexpected(std::move(begun.error()));
      }
      const auto seen = input_.peek();
      if (!seen) return std::unexpected(seen.error());
      const auto room = out.subspan(filled);
      auto& stream = lzma_.stream;
      stream.next_in = reinterpret_cast<const std::uint8_t*>(seen->data());
      stream.avail_in = seen->size();
      stream.next_out = reinterpret_cast<std::uint8_t*>(room.data());
      stream.avail_out = room.size();
      const auto status = lzma_code(&stream, LZMA_RUN);
      filled += room.size() - stream.avail_out;
      input_.consume(seen->size() - stream.avail_in);
      if (status == LZMA_STREAM_END) within_ = false;
      else if (status != LZMA_OK) return std::unexpected(xz_fault(status, input_.position()));
    }
    return filled;
  }

 private:
  Result<void> begin_block() {
    lzma_index_iter at;
    lzma_index_iter_init(&at, index_.get());
    if (lzma_index_iter_locate(&at, next_)) return std::unexpected(xz_fault(LZMA_DATA_ERROR, 0));
    if (auto decoded = decode_block_header(file_, at, block_, *filters_); !decoded) return decoded;
    const auto status = lzma_block_decoder(&lzma_.stream, &block_);
    lzma_filters_free(filters_->list.data(), nullptr);
    if (status != LZMA_OK) return std::unexpected(xz_fault(status, at.block.compressed_file_offset));
    input_ = FileInput(file_, at.block.compressed_file_offset + block_.header_size, at.block.total_size - block_.header_size);
    next_ = at.block.uncompressed_file_offset + at.block.uncompressed_size;
    within_ = true;
    return {};
  }

  ImageFile file_;
  Index index_;
  std::uint64_t next_;  // where on the disk the next block begins
  std::uint64_t end_;
  FileInput input_;
  std::unique_ptr<Filters> filters_ = std::make_unique<Filters>();
  lzma_block block_{};
  LzmaStream lzma_;
  bool within_ = false;
};

class XzImage final : public PackedImage {
 public:
  XzImage(const ImageFile& file, Index index) : file_(file), index_(std::move(index)) {}

  Result<void> look() {
    lzma_index_iter at;
    lzma_index_iter_init(&at, index_.get());
    while (!lzma_index_iter_next(&at, LZMA_INDEX_ITER_NONEMPTY_BLOCK)) {
      if (segments_.empty()) {
        lzma_block block{};
        Filters filters;
        if (auto decoded = decode_block_header(file_, at, block, filters); !decoded) return decoded;
        unpacker_bytes_ += lzma_raw_decoder_memusage(filters.list.data());
      }
      add_part(at.block.uncompressed_size, at.block.compressed_file_offset, at.block.total_size);
    }
    return {};
  }

  std::string_view format() const override { return "xz"; }
  std::uint64_t unpacker_bytes() const override { return unpacker_bytes_; }
  Result<std::unique_ptr<Unpacker>> unpack(const Segment& segment) const override { return std::make_unique<XzUnpacker>(file_, index_, segment); }

 private:
  ImageFile file_;
  Index index_;
  std::uint64_t unpacker_bytes_ = 512 << 10;  // beside what the filters need
};

}  // namespace

Result<std::unique_ptr<PackedImage>> open_xz(const ImageFile& file) {
  auto index = read_index(file);
  if (!index) return std::unexpected(std::move(index.error()));
  auto image = std::make_unique<XzImage>(file, std::move(*index));
  if (auto looked = image->look(); !looked) return std::unexpected(std::move(looked.error()));
  return image;
}

}  // namespace ironrack::image
