#include "signature.hpp"

#include "bytes.hpp"

#include <algorithm>
#include <string_view>

namespace agent {

namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;

struct SignatureRow {
    const char* name;
    std::uint64_t offset;  // of the magic, in bytes: from the start, or back from the end
    bool from_end;
    std::string_view magic;
    const char* source;
};

// Magic numbers as libblkid's probers know them (util-linux 2.38, libblkid/src/superblocks and partitions),
// with the structure's own document where there is one.
constexpr SignatureRow rows[] = {
    {"MBR", 510, false, "\x55\xaa"sv, "UEFI 2.10 §5.2.1"},
    {"GPT", 512, false, "EFI PART"sv, "UEFI 2.10 §5.3.2"},
    {"GPT", 4096, false, "EFI PART"sv, "UEFI 2.10 §5.3.2, 4 KiB sectors"},
    {"GPT back-up", 512, true, "EFI PART"sv, "UEFI 2.10 §5.3.2"},
    {"GPT back-up", 4096, true, "EFI PART"sv, "UEFI 2.10 §5.3.2, 4 KiB sectors"},
    {"ext2/3/4", 1080, false, "\x53\xef"sv, "ext4 disk layout, s_magic"},
    {"XFS", 0, false, "XFSB"sv, "XFS sb_magicnum"},
    {"XFS log", 0, false, "\xfe\xed\xba\xbe"sv, "XFS external log"},
    {"Btrfs", 64 * kib + 64, false, "_BHRfS_M"sv, "Btrfs superblock"},
    {"Btrfs mirror", 64 * mib + 64, false, "_BHRfS_M"sv, "Btrfs superblock, second copy"},
    {"Btrfs mirror", 256 * 1024 * mib + 64, false, "_BHRfS_M"sv, "Btrfs superblock, third copy"},
    {"F2FS", 1 * kib, false, "\x10\x20\xf5\xf2"sv, "F2FS_SUPER_MAGIC"},
    {"FAT32", 82, false, "FAT32   "sv, "Microsoft FAT specification, BS_FilSysType"},
    {"FAT16", 54, false, "FAT16   "sv, "Microsoft FAT specification, BS_FilSysType"},
    {"FAT12", 54, false, "FAT12   "sv, "Microsoft FAT specification, BS_FilSysType"},
    {"NTFS", 3, false, "NTFS    "sv, "NTFS boot sector"},
    {"exFAT", 3, false, "EXFAT   "sv, "exFAT specification §3.1.2"},
    {"ISO 9660", 32 * kib + 1, false, "CD001"sv, "ECMA-119 §8.1.2"},
    {"UDF", 34 * kib + 1, false, "BEA01"sv, "ECMA-167 2/9.2"},
    {"SquashFS", 0, false, "hsqs"sv, "SQUASHFS_MAGIC"},
    {"swap", 4086, false, "SWAPSPACE2"sv, "mkswap, 4 KiB pages"},
    {"swap", 65526, false, "SWAPSPACE2"sv, "mkswap, 64 KiB pages"},
    {"LVM2", 24, false, "LVM2 001"sv, "LVM2 label in sector 0"},
    {"LVM2", 536, false, "LVM2 001"sv, "LVM2 label in sector 1"},
    {"LVM2", 1048, false, "LVM2 001"sv, "LVM2 label in sector 2"},
    {"LVM2", 1560, false, "LVM2 001"sv, "LVM2 label in sector 3"},
    {"LUKS", 0, false, "LUKS\xba\xbe"sv, "LUKS1 and LUKS2 header"},
    {"LUKS2 second header", 16 * kib, false, "SKUL\xba\xbe"sv, "LUKS2 specification §2.1"},
    {"mdadm 1.1", 0, false, "\xfc\x4e\x2b\xa9"sv, "md_p.h, version 1.1"},
    {"mdadm 1.2", 4 * kib, false, "\xfc\x4e\x2b\xa9"sv, "md_p.h, version 1.2"},
    {"DDF RAID", 512, true, "\xde\x11\xde\x11"sv, "SNIA DDF §5.5"},
    {"DDF RAID", 257 * 512, true, "\xde\x11\xde\x11"sv, "SNIA DDF, anchor of Adaptec"},
    {"IMSM RAID", 1024, true, "Intel Raid ISM Cfg Sig. "sv, "mdadm super-intel.c"},
    {"ZFS label", 128 * kib, false, "\x0c\xb1\xba\x00\x00\x00\x00\x00"sv, "ZFS uberblock, little endian"},
    {"ZFS label", 128 * kib, false, "\x00\x00\x00\x00\x00\xba\xb1\x0c"sv, "ZFS uberblock, big endian"},
    {"bcache", 4 * kib + 24, false, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"sv, "bcache.h"},
    {"Ceph BlueStore", 0, false, "bluestore block device"sv, "BlueStore label"},
    {"VMFS", 1 * mib, false, "\x0d\xd0\x01\xc0"sv, "VMFS volume header"},
    {"GFS2", 64 * kib, false, "\x01\x16\x19\x70"sv, "GFS2_MAGIC"},
    {"ReiserFS", 64 * kib + 52, false, "ReIs"sv, "reiserfs superblock"},
    {"JFS", 32 * kib, false, "JFS1"sv, "JFS superblock"},
    {"NILFS2", 1030, false, "\x34\x34"sv, "NILFS2 s_magic"},
    {"OCFS2", 8 * kib, false, "OCFSV2"sv, "OCFS2 superblock"},
    {"DRBD", 4 * kib - 60, true, "\x83\x74\x02\x6b"sv, "DRBD meta data, version 8.4"},
    {"Stratis", 520, false, "!Stra0tis\x86\xff\x02^Arh"sv, "Stratis static header"},
};

bool holds(const BlockDevice& disk, std::uint64_t at, std::string_view magic)
{
    Bytes bytes(magic.size());
    return disk.read(at, bytes).has_value() && std::ranges::equal(bytes, magic, {}, {}, [](char c) { return static_cast<std::uint8_t>(c); });
}

}  // namespace

Result<std::vector<Signature>> find_signatures(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length)
{
    if (offset > disk.size() || length > disk.size() - offset) {
        return fail(FaultKind::invalid, "a range past the end of " + disk.path());
    }
    std::vector<Signature> found;
    const auto look_at = [&](const char* name, std::uint64_t at, std::string_view magic) {
        if (at + magic.size() <= length && holds(disk, offset + at, magic)) {
            found.push_back({.name = name, .offset = offset + at, .length = magic.size()});
        }
    };
    for (const SignatureRow& row : rows) {
        if (!row.from_end) {
            look_at(row.name, row.offset, row.magic);
        } else if (length >= row.offset) {
            look_at(row.name, length - row.offset, row.magic);
        }
    }
    // md_p.h: version 0.90 lies in the last whole 64 KiB but one; 1.0 at least 8 KiB before the end, aligned to 4 KiB.
    if (length >= 128 * kib) {
        look_at("mdadm 0.90", length / (64 * kib) * (64 * kib) - 64 * kib, "\xfc\x4e\x2b\xa9"sv);
        look_at("mdadm 1.0", (length - 8 * kib) / (4 * kib) * (4 * kib), "\xfc\x4e\x2b\xa9"sv);
    }
    return found;
}

}  // namespace agent
