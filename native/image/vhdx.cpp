// Hyper-V's VHDX ([MS-VHDX]): two headers, of which the newer valid one counts, a table of regions, and in these the metadata and the block
// allocation table (BAT).
#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <vector>

#include "bytes/crc32c.hpp"
#include "image/convertible.hpp"
#include "image/little_endian.hpp"

namespace ironrack::image {
namespace {

using namespace std::string_view_literals;
using Guid = std::array<std::uint8_t, 16>;  // as it lies in the file

constexpr std::uint64_t kHeaderAt[] = {64 << 10, 128 << 10};
constexpr std::size_t kHeaderBytes = 4096;
constexpr std::uint64_t kRegionTableAt = 192 << 10;
constexpr std::size_t kTableBytes = 64 << 10;
constexpr std::size_t kMostRegions = 2047;
constexpr std::size_t kMostItems = 2047;
constexpr std::uint64_t kMostDiskBytes = std::uint64_t{64} << 40;

constexpr Guid kBat = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
constexpr Guid kMetadata = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
constexpr Guid kFileParameters = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
constexpr Guid kDiskSize = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
constexpr Guid kSectorSize = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};
constexpr Guid kParentLocator = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};

constexpr std::uint32_t kHasParent = 1u << 1;

// States of a block of the disk, [MS-VHDX] §2.5.1.1.
constexpr std::uint64_t kStateMask = 7;
constexpr std::uint64_t kFullyPresent = 6;
constexpr std::uint64_t kPartiallyPresent = 7;
constexpr std::uint64_t kOffsetMask = ~std::uint64_t{0xfffff};

struct Region {
  std::uint64_t offset;
  std::uint64_t length;
};

struct Regions {
  Region bat;
  Region metadata;
};

struct Disk {
  std::uint64_t bytes = 0;
  std::uint32_t block_bytes = 0;
  std::uint32_t sector_bytes = 0;
};

std::unexpected<Fault> malformed(const char* message) { return fail(FaultKind::malformed, "vhdx.header", message); }
std::unexpected<Fault> has_parent() { return fail(FaultKind::unsupported, "vhdx.parent", "the vhdx image is a difference to another image; make one whole image of both"); }

bool is(const std::byte* at, const Guid& guid) { return std::memcmp(at, guid.data(), guid.size()) == 0; }
bool starts(const std::vector<std::byte>& bytes, std::string_view word) { return std::memcmp(bytes.data(), word.data(), word.size()) == 0; }

/// The checksum covers the structure as if its own field, at 4, were zero.
bool has_checksum(std::vector<std::byte> bytes) {
  const auto found = load_le<std::uint32_t>(&bytes[4]);
  std::fill_n(bytes.begin() + 4, 4, std::byte{0});
  return crc32c(0, bytes) == found;
}

/// The image was closed: nothing in its log has still to be done.
Result<void> check_headers(const ImageFile& file) {
  std::optional<std::uint64_t> newest;
  bool open = false;
  for (const auto at : kHeaderAt) {
    std::vector<std::byte> header(kHeaderBytes);
    if (auto read = file.read_at(at, header); !read) return read;
    if (!starts(header, "head"sv) || !has_checksum(header)) continue;
    const auto sequence = load_le<std::uint64_t>(&header[8]);
    if (newest && sequence < *newest) continue;
    newest = sequence;
    open = !is(&header[48], Guid{});
    if (load_le<std::uint16_t>(&header[66]) != 1) return fail(FaultKind::unsupported, "vhdx.version", "the vhdx image is of an unknown version");
  }
  if (!newest) return malformed("the vhdx image has no valid header");
  if (open) return fail(FaultKind::unsupported, "vhdx.log", "the vhdx image was not closed properly: what its log has is not in the disk yet");
  return {};
}

Result<Regions> read_regions(const ImageFile& file) {
  std::vector<std::byte> table(kTableBytes);
  if (auto read = file.read_at(kRegionTableAt, table); !read) return std::unexpected(std::move(read.error()));
  const auto count = load_le<std::uint32_t>(&table[8]);
  if (!starts(table, "regi"sv) || !has_checksum(table) || count > kMostRegions) return malformed("the vhdx image's table of regions is damaged");
  std::optional<Region> bat;
  std::optional<Region> metadata;
  for (std::size_t at = 16; at < 16 + count * std::size_t{32}; at += 32) {
    const Region region{load_le<std::uint64_t>(&table[at + 16]), load_le<std::uint32_t>(&table[at + 24])};
    auto* known = is(&table[at], kBat) ? &bat : is(&table[at], kMetadata) ? &metadata : nullptr;
    if (known == nullptr && (load_le<std::uint32_t>(&table[at + 28]) & 1) != 0) return fail(FaultKind::unsupported, "vhdx.region", "the vhdx image needs a part that is unknown");
    if (known != nullptr && *known) return malformed("the vhdx image has a region twice");
    if (known != nullptr) *known = region;
  }
  if (!bat || !metadata) return malformed("the vhdx image lacks a region");
  return Regions{*bat, *metadata};
}

Result<Disk> read_metadata(const ImageFile& file, const Region& region) {
  std::vector<std::byte> table(kTableBytes);
  if (region.length < table.size()) return malformed("the vhdx image's metadata are too short");
  if (auto read = file.read_at(region.offset, table); !read) return std::unexpected(std::move(read.error()));
  const auto count = load_le<std::uint16_t>(&table[10]);
  if (!starts(table, "metadata"sv) || count > kMostItems) return malformed("the vhdx image's metadata are damaged");
  Disk disk;
  for (std::size_t at = 32; at < 32 + count * std::size_t{32}; at += 32) {
    if (is(&table[at], kParentLocator)) return has_parent();
    std::array<std::byte, 8> value{};
    const std::uint64_t offset = load_le<std::uint32_t>(&table[at + 16]);
    const bool four = is(&table[at], kSectorSize);
    if (!four && !is(&table[at], kFileParameters) && !is(&table[at], kDiskSize)) continue;
    if (offset > region.length - value.size()) return malformed("the vhdx image's metadata are damaged");
    if (auto read = file.read_at(region.offset + offset, std::span(value).first(four ? 4 : 8)); !read) return std::unexpected(std::move(read.error()));
    if (four) {
      disk.sector_bytes = load_le<std::uint32_t>(value.data());
    } else if (is(&table[at], kDiskSize)) {
      disk.bytes = load_le<std::uint64_t>(value.data());
    } else {
      disk.block_bytes = load_le<std::uint32_t>(value.data());
      if ((load_le<std::uint32_t>(&value[4]) & kHasParent) != 0) return has_parent();
    }
  }
  const bool sane = disk.bytes > 0 && disk.bytes <= kMostDiskBytes && std::has_single_bit(disk.block_bytes) && disk.block_bytes >= 1 << 20 && disk.block_bytes <= 256 << 20 && (disk.sector_bytes == 512 || disk.sector_bytes == 4096);
  if (!sane) return malformed("the vhdx image's sizes make no sense");
  return disk;
}

}  // namespace

Result<Convertible> check_vhdx(const ImageFile& file) {
  if (auto checked = check_headers(file); !checked) return std::unexpected(std::move(checked.error()));
  const auto regions = read_regions(file);
  if (!regions) return std::unexpected(regions.error());
  const auto disk = read_metadata(file, regions->metadata);
  if (!disk) return std::unexpected(disk.error());
  const std::uint64_t blocks = (disk->bytes + disk->block_bytes - 1) / disk->block_bytes;
  // After so many blocks of the disk comes an entry of another kind, of use to differences only. @source [MS-VHDX] §2.5
  const std::uint64_t chunk = (std::uint64_t{disk->sector_bytes} << 23) / disk->block_bytes;
  const std::uint64_t entries = blocks + (blocks - 1) / chunk;
  if (entries * 8 > regions->bat.length) return malformed("the vhdx image's disk is larger than its table of blocks");
  Convertible out{.virtual_size = disk->bytes, .data_bytes = 0};
  const TableWalk walk(file);
  auto walked = walk.each(regions->bat.offset, entries, 8, [&](std::uint64_t index, const std::byte* place) -> Result<void> {
    if (index % (chunk + 1) == chunk) return {};
    const auto entry = load_le<std::uint64_t>(place);
    const auto state = entry & kStateMask;
    if (state == kPartiallyPresent) return has_parent();
    if (state != kFullyPresent) return {};
    const auto needed = std::min<std::uint64_t>(disk->block_bytes, disk->bytes - (index - index / (chunk + 1)) * disk->block_bytes);
    out.data_bytes += needed;
    return walk.within(entry & kOffsetMask, needed);
  });
  if (!walked) return std::unexpected(std::move(walked.error()));
  return out;
}

}  // namespace ironrack::image
