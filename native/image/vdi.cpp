// VirtualBox's VDI, as VBox/Storage/VDICore.h lays it out: a header, a map with a number for each block of the disk, the blocks.
#include <algorithm>
#include <array>

#include "image/convertible.hpp"
#include "image/little_endian.hpp"

namespace ironrack::image {
namespace {

constexpr std::uint32_t kVersion = 0x00010001;
constexpr std::uint32_t kDynamic = 1;
constexpr std::uint32_t kFixed = 2;
constexpr std::uint32_t kBlockBytes = 1 << 20;
constexpr std::uint32_t kMostBlocks = 0x3fffffff;
constexpr std::uint32_t kFirstSpecial = 0xfffffffe;  // this one and the next: no block, reads as zeroes

struct Header {
  std::uint32_t version;
  std::uint32_t type;
  std::uint32_t map_offset;
  std::uint32_t data_offset;
  std::uint32_t sector_bytes;
  std::uint64_t disk_bytes;
  std::uint32_t block_bytes;
  std::uint32_t blocks;
  bool linked;
};

Header decode(const std::array<std::byte, 512>& bytes) {
  const auto number = [&](std::size_t at) { return load_le<std::uint32_t>(&bytes[at]); };
  const auto zero = [](std::byte each) { return each == std::byte{0}; };
  return {
      .version = number(0x44),
      .type = number(0x4c),
      .map_offset = number(0x154),
      .data_offset = number(0x158),
      .sector_bytes = number(0x168),
      .disk_bytes = load_le<std::uint64_t>(&bytes[0x170]),
      .block_bytes = number(0x178),
      .blocks = number(0x180),
      .linked = !std::all_of(&bytes[0x1a8], &bytes[0x1c8], zero),  // the UUIDs of what it is a difference to
  };
}

}  // namespace

Result<Convertible> check_vdi(const ImageFile& file) {
  std::array<std::byte, 512> bytes;
  if (auto read = file.read_at(0, bytes); !read) return std::unexpected(std::move(read.error()));
  const auto header = decode(bytes);
  if (header.version != kVersion) return fail(FaultKind::unsupported, "vdi.version", "the vdi image is not of version 1.1");
  if (header.linked || (header.type != kDynamic && header.type != kFixed)) return fail(FaultKind::unsupported, "vdi.differencing", "the vdi image is a difference to another image; make one whole image of both");
  if (header.sector_bytes != 512 || header.block_bytes != kBlockBytes) return fail(FaultKind::unsupported, "vdi.geometry", "the vdi image has blocks of an unknown size");
  if (header.blocks > kMostBlocks || header.disk_bytes == 0 || header.disk_bytes > std::uint64_t{header.blocks} * kBlockBytes) return fail(FaultKind::malformed, "vdi.header", "the vdi image's disk is larger than its map");
  Convertible out{.virtual_size = header.disk_bytes, .data_bytes = 0};
  const TableWalk walk(file);
  auto walked = walk.each(header.map_offset, (header.disk_bytes + kBlockBytes - 1) / kBlockBytes, 4, [&](std::uint64_t index, const std::byte* entry) -> Result<void> {
    const auto block = load_le<std::uint32_t>(entry);
    if (block >= kFirstSpecial) return {};
    const auto needed = std::min<std::uint64_t>(kBlockBytes, header.disk_bytes - index * kBlockBytes);
    out.data_bytes += needed;
    return walk.within(header.data_offset + std::uint64_t{block} * kBlockBytes, needed);
  });
  if (!walked) return std::unexpected(std::move(walked.error()));
  return out;
}

}  // namespace ironrack::image
