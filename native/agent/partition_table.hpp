// A disk's GPT or MBR partition table: read here, changed with sfdisk.
#pragma once

#include "block_device.hpp"
#include "bytes.hpp"
#include "machine.hpp"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace agent {

using Guid = std::array<std::uint8_t, 16>;  // as it lies on the disk: the first three fields little endian

struct Partition {
    std::uint32_t number = 0;  // from 1, as in /dev/sda1
    std::uint64_t first_lba = 0;
    std::uint64_t sectors = 0;
    Guid type{};               // GPT only
    Guid unique{};             // GPT only
    std::string name;          // GPT only
    std::uint8_t mbr_type = 0; // MBR only

    bool is_efi_system() const;  // UEFI 2.10 §5.3.3, table 5.7; MBR type 0xEF: §5.2.2
};

struct PartitionTable {
    enum class Kind { none, gpt, mbr };

    Kind kind = Kind::none;
    std::uint32_t sector_size = 512;
    std::uint64_t first_usable_lba = 0;
    std::uint64_t last_usable_lba = 0;
    std::uint64_t backup_lba = 0;         // GPT: where the header says its back-up is
    std::uint32_t mbr_signature = 0;
    std::vector<Partition> partitions;    // ordered by number

    std::uint64_t offset_of(const Partition& partition) const { return partition.first_lba * sector_size; }
    std::uint64_t size_of(const Partition& partition) const { return partition.sectors * sector_size; }
};

// The table of a disk; kind `none` if there is no valid one. A GPT whose first header is broken is read from the
// back-up at the disk's end. Partitions that lie outside of the disk are left out.
Result<PartitionTable> read_partition_table(const BlockDevice& disk);

// Adds a partition of at least `size` bytes at the end of the free space behind the last partition, aligned to 1 MiB,
// and answers it as read back. Moves the back-up of a GPT to the disk's end first. MBR: a primary partition below 2 TiB.
Result<Partition> append_partition(BlockDevice& disk, const Machine& machine, std::uint64_t size, const std::string& name);

std::string guid_text(const Guid& guid);                // "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
std::optional<Guid> parse_guid(std::string_view text);

// "/dev/sda" and 3 → "/dev/sda3"; "/dev/nvme0n1" → "/dev/nvme0n1p3".
std::string partition_path(const std::string& disk, std::uint32_t number);

}  // namespace agent
