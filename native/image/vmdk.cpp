// VMware's hosted sparse extent ("Virtual Disk Format 5.0"): a header, an embedded descriptor, and two levels of tables whose entries are
// sectors of the file. Only a file that is a whole disk is taken; the footer of a streamed one takes precedence over its header.
#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <vector>

#include "image/convertible.hpp"
#include "image/little_endian.hpp"

namespace ironrack::image {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kSector = 512;
constexpr auto kMagic = "KDMV"sv;
constexpr std::uint64_t kAtEnd = 0xffffffffffffffff;
constexpr std::uint32_t kZeroGrains = 1u << 2;
constexpr std::uint32_t kCompressed = 1u << 16;
constexpr std::uint32_t kFooterMarker = 3;
constexpr std::uint64_t kMostSectors = std::uint64_t{1} << 32;
constexpr std::uint32_t kTableEntries = 512;
constexpr std::size_t kMarkerBytes = 12;                  // before a compressed grain: its sector of the disk, its length
constexpr std::uint64_t kQemuDescriptor = 20 * kSector;  // what qemu-img looks at from the second sector on, wherever the descriptor is
constexpr std::uint64_t kMostDescriptor = 64 << 10;

struct Header {
  std::uint32_t version;
  std::uint32_t flags;
  std::uint64_t capacity;     // this and the following are sectors
  std::uint64_t grain;
  std::uint64_t descriptor;
  std::uint64_t descriptor_sectors;
  std::uint32_t table_entries;
  std::uint64_t directory;
  std::uint16_t compression;
};

Header decode(const std::byte* sector) {
  return {
      .version = load_le<std::uint32_t>(sector + 4),
      .flags = load_le<std::uint32_t>(sector + 8),
      .capacity = load_le<std::uint64_t>(sector + 12),
      .grain = load_le<std::uint64_t>(sector + 20),
      .descriptor = load_le<std::uint64_t>(sector + 28),
      .descriptor_sectors = load_le<std::uint64_t>(sector + 36),
      .table_entries = load_le<std::uint32_t>(sector + 44),
      .directory = load_le<std::uint64_t>(sector + 56),
      .compression = load_le<std::uint16_t>(sector + 77),
  };
}

bool has_magic(const std::byte* sector) { return std::memcmp(sector, kMagic.data(), kMagic.size()) == 0; }

std::unexpected<Fault> malformed(std::string message) { return fail(FaultKind::malformed, "vmdk.header", std::move(message)); }
std::unexpected<Fault> part_of_disk() {
  return fail(FaultKind::unsupported, "vmdk.extents", "the vmdk image names other files or is a part of one; export it as one file (monolithicSparse or streamOptimized)");
}

Result<std::string> text_at(const ImageFile& file, std::uint64_t offset, std::uint64_t length) {
  std::string text;
  if (offset >= file.size) return text;
  text.resize(static_cast<std::size_t>(std::min(length, file.size - offset)));
  if (auto read = file.read_at(offset, std::as_writable_bytes(std::span(text))); !read) return std::unexpected(std::move(read.error()));
  return text;
}

/// The descriptor belongs to a disk that is this file and no other.
Result<void> check_descriptor(const ImageFile& file, const Header& header) {
  if (header.descriptor == 0 || header.descriptor > kMostSectors || header.descriptor_sectors > kMostDescriptor / kSector) return part_of_disk();
  if (auto there = TableWalk(file).within(header.descriptor * kSector, header.descriptor_sectors * kSector); !there) return there;
  const auto seen = text_at(file, kSector, kQemuDescriptor);
  if (!seen) return std::unexpected(seen.error());
  const auto own = text_at(file, header.descriptor * kSector, header.descriptor_sectors * kSector);
  if (!own) return std::unexpected(own.error());
  for (const auto& text : {*seen, *own}) {
    if (text.contains("parentFileNameHint")) return fail(FaultKind::unsupported, "vmdk.parent", "the vmdk image is a difference to another image; make one whole image of both");
  }
  const std::string_view text = std::string_view(*own).substr(0, own->find('\0'));
  if (!text.contains("createType=\"monolithicSparse\"") && !text.contains("createType=\"streamOptimized\"")) return part_of_disk();
  return {};
}

/// The header that counts: the first, or the copy behind what was streamed.
Result<Header> header_in_force(const ImageFile& file, const Header& first) {
  if (first.directory != kAtEnd) return first;
  std::array<std::byte, 3 * kSector> end;
  if (file.size % kSector != 0 || file.size < end.size() + kSector) return fail(FaultKind::malformed, "image.truncated", "the vmdk image has no footer: its file is cut off");
  if (auto read = file.read_at(file.size - end.size(), end); !read) return std::unexpected(std::move(read.error()));
  const bool footer = load_le<std::uint32_t>(&end[8]) == 0 && load_le<std::uint32_t>(&end[12]) == kFooterMarker && has_magic(&end[kSector]) && load_le<std::uint32_t>(&end[2 * kSector + 12]) == 0;
  if (!footer) return fail(FaultKind::malformed, "image.truncated", "the vmdk image has no footer: its file is cut off");
  auto header = decode(&end[kSector]);
  if (header.capacity != first.capacity || header.directory == kAtEnd) return malformed("the vmdk image's footer contradicts its header");
  return header;
}

}  // namespace

Result<Convertible> check_vmdk(const ImageFile& file) {
  std::array<std::byte, kSector> sector;
  if (auto read = file.read_at(0, sector); !read) return std::unexpected(std::move(read.error()));
  // Text, or an extent of an ESX server. A capacity of zero makes the embedded descriptor one that may name any file.
  if (!has_magic(sector.data()) || decode(sector.data()).capacity == 0) return part_of_disk();
  const auto first = decode(sector.data());
  if (auto checked = check_descriptor(file, first); !checked) return std::unexpected(std::move(checked.error()));
  const auto found = header_in_force(file, first);
  if (!found) return std::unexpected(found.error());
  const auto& header = *found;
  if (header.version < 1 || header.version > 3) return fail(FaultKind::unsupported, "vmdk.version", "the vmdk image is of an unknown version");
  if (header.compression > 1) return fail(FaultKind::unsupported, "vmdk.compression", "the vmdk image is compressed in an unknown way");
  if (header.capacity > kMostSectors || header.table_entries != kTableEntries || header.grain < 8 || header.grain > kMostSectors || !std::has_single_bit(header.grain)) return malformed("the vmdk image's sizes make no sense");
  const bool compressed = header.compression != 0 || (header.flags & kCompressed) != 0;
  const auto grain_bytes = header.grain * kSector;
  const auto table_sectors = header.grain * kTableEntries;
  Convertible out{.virtual_size = header.capacity * kSector, .data_bytes = 0};
  const TableWalk walk(file);
  if (header.directory > file.size / kSector) return std::unexpected(walk.within(file.size, 1).error());
  auto walked = walk.each(header.directory * kSector, (header.capacity + table_sectors - 1) / table_sectors, 4, [&](std::uint64_t table, const std::byte* place) -> Result<void> {
    const auto table_at = load_le<std::uint32_t>(place);
    if (table_at == 0) return {};
    const auto grains = std::min<std::uint64_t>(kTableEntries, (header.capacity - table * table_sectors + header.grain - 1) / header.grain);
    return walk.each(table_at * kSector, grains, 4, [&](std::uint64_t index, const std::byte* entry) -> Result<void> {
      const auto grain_at = load_le<std::uint32_t>(entry);
      if (grain_at == 0 || (grain_at == 1 && (header.flags & kZeroGrains) != 0)) return {};
      const auto needed = std::min(grain_bytes, out.virtual_size - table * table_sectors * kSector - index * grain_bytes);
      out.data_bytes += needed;
      if (!compressed) return walk.within(grain_at * kSector, needed);
      std::array<std::byte, kMarkerBytes> marker;
      if (auto there = walk.within(grain_at * kSector, marker.size()); !there) return there;
      if (auto read = file.read_at(grain_at * kSector, marker); !read) return read;
      return walk.within(grain_at * kSector, marker.size() + load_le<std::uint32_t>(&marker[8]));
    });
  });
  if (!walked) return std::unexpected(std::move(walked.error()));
  return out;
}

}  // namespace ironrack::image
