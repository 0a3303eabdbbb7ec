#include "fat_volume.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace agent {

namespace {

constexpr std::size_t entry_size = 32;
constexpr std::size_t most_directory_bytes = 2 * 1024 * 1024;  // 65536 entries, the format's own limit
constexpr std::uint8_t attribute_volume = 0x08;
constexpr std::uint8_t attribute_directory = 0x10;
constexpr std::uint8_t attribute_long_name = 0x0f;

std::string short_name(std::span<const std::uint8_t> entry)
{
    // Windows NT's addition in byte 12, which mtools and the Linux driver write too: a name all in lower case.
    const auto part = [&](std::size_t from, std::size_t size, std::uint8_t lower_case) {
        std::string text(entry.begin() + static_cast<std::ptrdiff_t>(from), entry.begin() + static_cast<std::ptrdiff_t>(from + size));
        text.erase(text.find_last_not_of(' ') + 1);
        if ((entry[12] & lower_case) != 0) {
            std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        }
        return text;
    };
    std::string name = part(0, 8, 0x08);
    if (!name.empty() && name[0] == 0x05) {
        name[0] = static_cast<char>(0xe5);
    }
    const std::string extension = part(8, 3, 0x10);
    return extension.empty() ? name : name + "." + extension;
}

// The 13 UTF-16 units of a long-name entry lie at 1 (5), 14 (6) and 28 (2).
void append_long_name_part(Bytes& units, std::span<const std::uint8_t> entry)
{
    for (const auto& [from, size] : {std::pair<std::size_t, std::size_t>{1, 10}, {14, 12}, {28, 4}}) {
        const auto part = entry.subspan(from, size);
        units.insert(units.end(), part.begin(), part.end());
    }
}

}  // namespace

bool FatVolume::same_name(std::string_view a, std::string_view b)
{
    return std::ranges::equal(a, b, {}, [](unsigned char c) { return std::toupper(c); }, [](unsigned char c) { return std::toupper(c); });
}

Result<FatVolume> FatVolume::open(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length)
{
    const auto broken = [](const char* what) { return fail(FaultKind::malformed, std::string("not a FAT volume: ") + what); };
    if (length < 512) {
        return broken("too small");
    }
    FatVolume volume(disk);
    volume.offset_ = offset;
    volume.length_ = length;
    auto boot = volume.read_range(0, 512);
    if (!boot) {
        return std::unexpected(boot.error());
    }
    const std::uint32_t sector = little_endian<std::uint16_t>(*boot, 11);
    const std::uint32_t sectors_per_cluster = (*boot)[13];
    const std::uint32_t reserved = little_endian<std::uint16_t>(*boot, 14);
    const std::uint32_t fats = (*boot)[16];
    const std::uint32_t root_entries = little_endian<std::uint16_t>(*boot, 17);
    const std::uint32_t short_total = little_endian<std::uint16_t>(*boot, 19);
    const std::uint32_t short_fat = little_endian<std::uint16_t>(*boot, 22);
    const std::uint64_t total = short_total != 0 ? short_total : little_endian<std::uint32_t>(*boot, 32);
    const std::uint64_t fat_sectors = short_fat != 0 ? short_fat : little_endian<std::uint32_t>(*boot, 36);
    if ((*boot)[510] != 0x55 || (*boot)[511] != 0xaa) {
        return broken("no boot signature");
    }
    if ((sector != 512 && sector != 1024 && sector != 2048 && sector != 4096) || sectors_per_cluster == 0 ||
        (sectors_per_cluster & (sectors_per_cluster - 1)) != 0 || reserved == 0 || fats == 0 || fats > 4 || fat_sectors == 0) {
        return broken("impossible geometry");
    }
    volume.fat_start_ = std::uint64_t{reserved} * sector;
    volume.root_start_ = volume.fat_start_ + fats * fat_sectors * sector;
    volume.root_size_ = root_entries * entry_size;
    volume.data_start_ = volume.root_start_ + (volume.root_size_ + sector - 1) / sector * sector;
    volume.cluster_size_ = sector * sectors_per_cluster;
    const std::uint64_t end = std::min(total * sector, length);
    if (volume.data_start_ >= end) {
        return broken("no room for data");
    }
    volume.clusters_ = static_cast<std::uint32_t>(std::min<std::uint64_t>((end - volume.data_start_) / volume.cluster_size_, 0x0ffffff5));
    // The count of clusters, and nothing else, decides the type (specification, "FAT type determination").
    volume.bits_ = short_fat == 0 ? 32 : volume.clusters_ < 4085 ? 12 : 16;
    volume.root_cluster_ = volume.bits_ == 32 ? little_endian<std::uint32_t>(*boot, 44) : 0;
    return volume;
}

Result<Bytes> FatVolume::read_range(std::uint64_t from, std::size_t size) const
{
    if (from > length_ || size > length_ - from) {
        return fail(FaultKind::malformed, "FAT volume: a reference past its end");
    }
    Bytes bytes(size);
    if (auto read = disk_->read(offset_ + from, bytes); !read) {
        return std::unexpected(read.error());
    }
    return bytes;
}

// 0 at the chain's end.
Result<std::uint32_t> FatVolume::next_cluster(std::uint32_t cluster) const
{
    std::uint32_t next = 0;
    if (bits_ == 32) {
        const auto entry = read_range(fat_start_ + std::uint64_t{cluster} * 4, 4);
        if (!entry) {
            return std::unexpected(entry.error());
        }
        next = little_endian<std::uint32_t>(*entry, 0) & 0x0fffffff;
    } else if (bits_ == 16) {
        const auto entry = read_range(fat_start_ + std::uint64_t{cluster} * 2, 2);
        if (!entry) {
            return std::unexpected(entry.error());
        }
        next = little_endian<std::uint16_t>(*entry, 0);
    } else {
        const auto entry = read_range(fat_start_ + cluster + cluster / 2, 2);
        if (!entry) {
            return std::unexpected(entry.error());
        }
        const std::uint32_t pair = little_endian<std::uint16_t>(*entry, 0);
        next = (cluster & 1) != 0 ? pair >> 4 : pair & 0xfff;
    }
    return next >= 2 && next < clusters_ + 2 ? next : 0;
}

Result<Bytes> FatVolume::read_chain(std::uint32_t cluster, std::size_t most) const
{
    Bytes out;
    // A loop in the chain ends at `most`.
    while (cluster >= 2 && cluster < clusters_ + 2 && out.size() < most) {
        const std::size_t size = std::min<std::size_t>(cluster_size_, most - out.size());
        const auto part = read_range(data_start_ + std::uint64_t{cluster - 2} * cluster_size_, size);
        if (!part) {
            return std::unexpected(part.error());
        }
        out.insert(out.end(), part->begin(), part->end());
        const auto next = next_cluster(cluster);
        if (!next) {
            return std::unexpected(next.error());
        }
        cluster = *next;
    }
    return out;
}

std::vector<FatVolume::Entry> FatVolume::parse_directory(std::span<const std::uint8_t> bytes)
{
    std::vector<Entry> entries;
    std::vector<Bytes> long_parts;  // last part first, as they lie on the disk
    for (std::size_t at = 0; at + entry_size <= bytes.size(); at += entry_size) {
        const auto raw = bytes.subspan(at, entry_size);
        if (raw[0] == 0x00) {
            break;
        }
        const std::uint8_t attributes = raw[11];
        if (raw[0] == 0xe5) {
            long_parts.clear();
            continue;
        }
        if ((attributes & 0x3f) == attribute_long_name) {
            if ((raw[0] & 0x40) != 0 || long_parts.size() >= 20) {
                long_parts.clear();
            }
            append_long_name_part(long_parts.emplace_back(), raw);
            continue;
        }
        Bytes units;
        for (auto part = long_parts.rbegin(); part != long_parts.rend(); ++part) {
            units.insert(units.end(), part->begin(), part->end());
        }
        long_parts.clear();
        if ((attributes & attribute_volume) != 0 || raw[0] == '.') {
            continue;
        }
        entries.push_back({
            .name = units.empty() ? short_name(raw) : from_utf16(units),
            .is_directory = (attributes & attribute_directory) != 0,
            .first_cluster = static_cast<std::uint32_t>(little_endian<std::uint16_t>(raw, 20)) << 16 | little_endian<std::uint16_t>(raw, 26),
            .size = little_endian<std::uint32_t>(raw, 28),
        });
    }
    return entries;
}

Result<std::vector<FatVolume::Entry>> FatVolume::list_root() const
{
    const auto bytes = bits_ == 32 ? read_chain(root_cluster_, most_directory_bytes) : read_range(root_start_, root_size_);
    if (!bytes) {
        return std::unexpected(bytes.error());
    }
    return parse_directory(*bytes);
}

Result<std::vector<FatVolume::Entry>> FatVolume::list(const Entry& directory) const
{
    const auto bytes = read_chain(directory.first_cluster, most_directory_bytes);
    if (!bytes) {
        return std::unexpected(bytes.error());
    }
    return parse_directory(*bytes);
}

Result<Bytes> FatVolume::read(const Entry& file, std::size_t most) const { return read_chain(file.first_cluster, std::min<std::size_t>(most, file.size)); }

}  // namespace agent
