#include "partition_table.hpp"

#include "process.hpp"

#include <algorithm>
#include <cctype>
#include <zlib.h>

namespace agent {

namespace {

constexpr std::uint64_t alignment = 1024 * 1024;
constexpr std::uint32_t most_partitions = 256;
constexpr std::uint64_t most_mbr_sectors = 0xffffffff;
constexpr std::chrono::seconds sfdisk_deadline(60);
constexpr const char* linux_data = "0fc63daf-8483-4772-8e79-3d69d8477de4";

constexpr Guid efi_system = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

bool is_extended(std::uint8_t type) { return type == 0x05 || type == 0x0f || type == 0x85; }

std::uint32_t crc_of(std::span<const std::uint8_t> bytes)
{
    return static_cast<std::uint32_t>(::crc32(0, bytes.data(), static_cast<uInt>(bytes.size())));
}

/* GPT header (UEFI 2.10 §5.3.2), at LBA 1 and at its back-up:
 *   0 "EFI PART" | 8 revision | 12 header size | 16 header CRC | 20 reserved | 24 my LBA | 32 alternate LBA
 *  40 first usable LBA | 48 last usable LBA | 56 disk GUID | 72 entries' LBA | 80 count | 84 entry size | 88 entries' CRC
 * Entry: 0 type | 16 unique | 32 first LBA | 40 last LBA | 48 attributes | 56 name, 36 UTF-16 units
 */
Result<PartitionTable> read_gpt_at(const BlockDevice& disk, std::uint64_t lba)
{
    const std::uint32_t sector = disk.sector_size();
    const std::uint64_t disk_sectors = disk.size() / sector;
    Bytes header(sector);
    if (auto read = disk.read(lba * sector, header); !read) {
        return std::unexpected(read.error());
    }
    const auto broken = [&](const char* what) { return fail(FaultKind::malformed, "GPT at sector " + std::to_string(lba) + ": " + what); };

    if (!std::ranges::equal(std::span(header).first(8), std::string_view("EFI PART"))) {
        return broken("no signature");
    }
    const auto header_size = little_endian<std::uint32_t>(header, 12);
    if (header_size < 92 || header_size > sector) {
        return broken("header size");
    }
    const auto header_crc = little_endian<std::uint32_t>(header, 16);
    std::fill_n(header.begin() + 16, 4, std::uint8_t{0});
    if (crc_of(std::span(header).first(header_size)) != header_crc) {
        return broken("header checksum");
    }
    if (little_endian<std::uint64_t>(header, 24) != lba) {
        return broken("it belongs to another sector");
    }
    PartitionTable table;
    table.kind = PartitionTable::Kind::gpt;
    table.sector_size = sector;
    table.backup_lba = little_endian<std::uint64_t>(header, 32);
    table.first_usable_lba = little_endian<std::uint64_t>(header, 40);
    table.last_usable_lba = std::min(little_endian<std::uint64_t>(header, 48), disk_sectors - 1);

    const auto entries_lba = little_endian<std::uint64_t>(header, 72);
    const auto count = little_endian<std::uint32_t>(header, 80);
    const auto entry_size = little_endian<std::uint32_t>(header, 84);
    if (count > 4096 || entry_size < 128 || entry_size > 4096 || entries_lba >= disk_sectors) {
        return broken("entry table");
    }
    Bytes entries(std::size_t{count} * entry_size);
    if (auto read = disk.read(entries_lba * sector, entries); !read) {
        return broken("entry table past the end of the disk");
    }
    if (crc_of(entries) != little_endian<std::uint32_t>(header, 88)) {
        return broken("entry table checksum");
    }
    for (std::uint32_t i = 0; i < count && table.partitions.size() < most_partitions; ++i) {
        const auto entry = std::span(entries).subspan(std::size_t{i} * entry_size, 128);
        Partition partition;
        partition.number = i + 1;
        std::ranges::copy(entry.subspan(0, 16), partition.type.begin());
        std::ranges::copy(entry.subspan(16, 16), partition.unique.begin());
        partition.first_lba = little_endian<std::uint64_t>(entry, 32);
        const auto last_lba = little_endian<std::uint64_t>(entry, 40);
        if (partition.type == Guid{} || partition.first_lba > last_lba || last_lba >= disk_sectors) {
            continue;
        }
        partition.sectors = last_lba - partition.first_lba + 1;
        partition.name = from_utf16(entry.subspan(56, 72));
        table.partitions.push_back(std::move(partition));
    }
    return table;
}

/* MBR: 440 disk signature | 446 four entries of 16: 0 status | 4 type | 8 first LBA | 12 sectors | 510 55 AA.
 * An extended partition holds a chain of the same sectors, each with one logical partition and a link (both relative).
 */
Result<PartitionTable> read_mbr(const BlockDevice& disk)
{
    const std::uint32_t sector = disk.sector_size();
    const std::uint64_t disk_sectors = disk.size() / sector;
    PartitionTable table;
    table.sector_size = sector;
    Bytes block(512);
    if (auto read = disk.read(0, block); !read) {
        return std::unexpected(read.error());
    }
    if (block[510] != 0x55 || block[511] != 0xaa) {
        return table;
    }
    table.mbr_signature = little_endian<std::uint32_t>(block, 440);
    table.first_usable_lba = 1;
    table.last_usable_lba = std::min(disk_sectors, most_mbr_sectors) - 1;

    const auto add = [&](std::uint32_t number, std::uint64_t base, std::span<const std::uint8_t> entry) {
        Partition partition;
        partition.number = number;
        partition.mbr_type = entry[4];
        partition.first_lba = base + little_endian<std::uint32_t>(entry, 8);
        partition.sectors = little_endian<std::uint32_t>(entry, 12);
        if (partition.mbr_type == 0 || partition.sectors == 0 || partition.first_lba == base ||
            partition.first_lba + partition.sectors > disk_sectors) {
            return false;
        }
        table.partitions.push_back(std::move(partition));
        return true;
    };
    // A boot sector of a filesystem ends in 55 AA too; its status bytes are not those of a table.
    for (std::size_t i = 0; i < 4; ++i) {
        if ((block[446 + 16 * i] & 0x7f) != 0) {
            return table;
        }
    }
    std::uint64_t extended = 0;
    for (std::uint32_t i = 0; i < 4; ++i) {
        const auto entry = std::span(block).subspan(446 + 16 * i, 16);
        if (entry[4] == 0xee) {
            return table;  // protective: the GPT it protects was broken
        }
        if (add(i + 1, 0, entry) && is_extended(entry[4]) && extended == 0) {
            extended = table.partitions.back().first_lba;
        }
    }
    if (!table.partitions.empty()) {
        table.kind = PartitionTable::Kind::mbr;
    }
    std::uint64_t link = extended;
    for (std::uint32_t number = 5; link != 0 && number < 5 + most_partitions; ++number) {
        if (link >= disk_sectors || !disk.read(link * sector, block) || block[510] != 0x55 || block[511] != 0xaa) {
            break;
        }
        add(number, link, std::span(block).subspan(446, 16));
        const auto next = std::span(block).subspan(462, 16);
        const std::uint64_t relative = little_endian<std::uint32_t>(next, 8);
        link = is_extended(next[4]) && relative != 0 ? extended + relative : 0;
    }
    return table;
}

// An image for sectors of 512 bytes on a disk of 4096, or the reverse: its GPT header lies at the other place.
bool is_for_other_sectors(const BlockDevice& disk)
{
    Bytes bytes(8);
    return disk.read(disk.sector_size() == 512 ? 4096 : 512, bytes).has_value() && std::ranges::equal(bytes, std::string_view("EFI PART"));
}

struct Gap {
    std::uint64_t first_lba;
    std::uint64_t sectors;
};

// The last `size` bytes, in whole MiB, of the space behind the last partition.
Result<Gap> gap_at_end(const BlockDevice& disk, const PartitionTable& table, std::uint64_t size)
{
    const std::uint64_t unit = alignment / table.sector_size;
    const std::uint64_t wanted = (size + alignment - 1) / alignment * unit;
    std::uint64_t used_to = std::max<std::uint64_t>(table.first_usable_lba, unit);
    for (const Partition& partition : table.partitions) {
        used_to = std::max(used_to, partition.first_lba + partition.sectors);
    }
    const std::uint64_t end = (table.last_usable_lba + 1) / unit * unit;
    if (wanted > end || end - wanted < used_to) {
        return fail(FaultKind::invalid, "no room for a partition of " + std::to_string(size) + " bytes at the end of " + disk.path());
    }
    return Gap{.first_lba = end - wanted, .sectors = wanted};
}

}  // namespace

bool Partition::is_efi_system() const { return type == efi_system || mbr_type == 0xef; }

Result<PartitionTable> read_partition_table(const BlockDevice& disk)
{
    if (disk.size() < 64ULL * disk.sector_size()) {
        PartitionTable none;
        none.sector_size = disk.sector_size();
        return none;
    }
    auto gpt = read_gpt_at(disk, 1);
    if (!gpt && gpt.error().kind == FaultKind::malformed) {
        // Without its protective MBR a back-up is what an earlier table left behind.
        Bytes mbr(512);
        if (auto read = disk.read(0, mbr); !read) {
            return std::unexpected(read.error());
        }
        if (mbr[450] == 0xee && mbr[510] == 0x55 && mbr[511] == 0xaa) {
            gpt = read_gpt_at(disk, disk.size() / disk.sector_size() - 1);
        }
    }
    if (gpt || gpt.error().kind != FaultKind::malformed) {
        return gpt;
    }
    return read_mbr(disk);
}

Result<Partition> append_partition(BlockDevice& disk, const Machine& machine, std::uint64_t size, const std::string& name)
{
    auto table = read_partition_table(disk);
    if (!table) {
        return std::unexpected(table.error());
    }
    if (table->kind == PartitionTable::Kind::none) {
        return fail(FaultKind::invalid, disk.path() + " has no partition table" + (is_for_other_sectors(disk) ? " for its sectors of " + std::to_string(disk.sector_size()) + " bytes: the image was made for others" : ""));
    }
    const bool is_gpt = table->kind == PartitionTable::Kind::gpt;
    if (is_gpt && table->backup_lba != disk.size() / disk.sector_size() - 1) {
        auto moved = run_process({machine.sfdisk, "--no-tell-kernel", "--no-reread", "--relocate", "gpt-bak-std", disk.path()}, "", sfdisk_deadline);
        if (!moved) {
            return fail(moved.error(), "moving the back-up GPT to the end of " + disk.path());
        }
        table = read_partition_table(disk);
        if (!table) {
            return std::unexpected(table.error());
        }
    }
    if (!is_gpt) {
        const auto primaries = std::ranges::count_if(table->partitions, [](const Partition& p) { return p.number <= 4; });
        if (primaries == 4) {
            return fail(FaultKind::invalid, "the MBR of " + disk.path() + " has no free entry");
        }
    }
    const auto gap = gap_at_end(disk, *table, size);
    if (!gap) {
        return std::unexpected(gap.error());
    }
    std::string line = "start=" + std::to_string(gap->first_lba) + ", size=" + std::to_string(gap->sectors);
    line += is_gpt ? std::string(", type=") + linux_data + ", name=\"" + name + "\"\n" : ", type=83\n";
    auto added = run_process({machine.sfdisk, "--quiet", "--no-tell-kernel", "--no-reread", "--force", "--wipe", "never", "--wipe-partitions", "never",
                              "--append", disk.path()},
                             line, sfdisk_deadline);
    if (!added) {
        return fail(added.error(), "adding a partition to " + disk.path());
    }
    table = read_partition_table(disk);
    if (!table) {
        return std::unexpected(table.error());
    }
    for (const Partition& partition : table->partitions) {
        if (partition.first_lba == gap->first_lba && partition.sectors == gap->sectors) {
            return partition;
        }
    }
    return fail(FaultKind::storage, "the partition added to " + disk.path() + " cannot be read back");
}

std::string guid_text(const Guid& guid)
{
    const Guid order = {guid[3], guid[2], guid[1], guid[0], guid[5], guid[4], guid[7], guid[6],
                        guid[8], guid[9], guid[10], guid[11], guid[12], guid[13], guid[14], guid[15]};
    std::string text = hexadecimal(order);
    for (const std::size_t at : {20, 16, 12, 8}) {
        text.insert(at, 1, '-');
    }
    return text;
}

std::optional<Guid> parse_guid(std::string_view text)
{
    if (text.size() != 36) {
        return std::nullopt;
    }
    Guid plain{};
    std::size_t digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') {
                return std::nullopt;
            }
            continue;
        }
        const auto c = static_cast<unsigned char>(text[i]);
        if (std::isxdigit(c) == 0) {
            return std::nullopt;
        }
        const int value = std::isdigit(c) != 0 ? c - '0' : std::tolower(c) - 'a' + 10;
        plain[digits / 2] = static_cast<std::uint8_t>(plain[digits / 2] << 4 | value);
        ++digits;
    }
    return Guid{plain[3], plain[2], plain[1], plain[0], plain[5], plain[4], plain[7], plain[6],
                plain[8], plain[9], plain[10], plain[11], plain[12], plain[13], plain[14], plain[15]};
}

std::string partition_path(const std::string& disk, std::uint32_t number)
{
    const bool ends_in_digit = !disk.empty() && std::isdigit(static_cast<unsigned char>(disk.back())) != 0;
    return disk + (ends_in_digit ? "p" : "") + std::to_string(number);
}

}  // namespace agent
