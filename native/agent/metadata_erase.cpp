#include "metadata_erase.hpp"

#include "partition_table.hpp"
#include "signature.hpp"

#include <algorithm>
#include <set>

namespace agent {

namespace {

// Covers what the signature table knows at fixed places: VMFS at 1 MiB, ZFS labels of 512 KiB at both ends, the
// metadata area of LVM (1 MiB) and that of a DDF array (32 MiB at most, found by its anchor at the end).
constexpr std::uint64_t margin = 4 * 1024 * 1024;

class MetadataEraser {
public:
    MetadataEraser(BlockDevice& disk, Log& log, const std::stop_token& stop) : disk_(disk), log_(log), stop_(stop) {}

    Result<void> erase_range(std::uint64_t offset, std::uint64_t length)
    {
        const auto signatures = find_signatures(disk_, offset, length);
        if (!signatures) {
            return std::unexpected(signatures.error());
        }
        for (const Signature& signature : *signatures) {
            log_.info("erase.signature", {{"disk", disk_.path()}, {"found", signature.name}, {"offset", signature.offset}});
            names_.insert(signature.name);
        }
        const std::uint64_t ends = std::min(margin, length);
        std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges = {{offset, ends}, {offset + length - ends, ends}};
        const std::uint64_t sector = disk_.sector_size();
        for (const Signature& signature : *signatures) {
            const std::uint64_t from = signature.offset / sector * sector;
            const std::uint64_t to = std::min((signature.offset + signature.length + sector - 1) / sector * sector, offset + length);
            ranges.emplace_back(from, to - from);
        }
        for (const auto& [from, size] : ranges) {
            if (auto zeroed = disk_.zero(from, size, stop_); !zeroed) {
                return zeroed;
            }
            zeroed_ += size;
        }
        return {};
    }

    MetadataErased outcome() const { return {.found = {names_.begin(), names_.end()}, .zeroed = zeroed_}; }

private:
    BlockDevice& disk_;
    Log& log_;
    const std::stop_token& stop_;
    std::set<std::string> names_;
    std::uint64_t zeroed_ = 0;
};

}  // namespace

Result<MetadataErased> erase_metadata(const std::string& path, Log& log, const std::stop_token& stop)
{
    auto disk = BlockDevice::open(path, BlockDevice::Use::exclusive);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    const auto table = read_partition_table(*disk);
    if (!table) {
        return std::unexpected(table.error());
    }
    MetadataEraser eraser(*disk, log, stop);
    for (const Partition& partition : table->partitions) {
        if (auto erased = eraser.erase_range(table->offset_of(partition), table->size_of(partition)); !erased) {
            return fail(erased.error(), "partition " + std::to_string(partition.number));
        }
    }
    // On a disk that grew, the back-up GPT is not at its end.
    const std::uint64_t backup = table->backup_lba * table->sector_size;
    if (table->kind == PartitionTable::Kind::gpt && table->backup_lba < disk->size() / table->sector_size) {
        if (auto zeroed = disk->zero(backup, table->sector_size, stop); !zeroed) {
            return std::unexpected(zeroed.error());
        }
    }
    if (auto erased = eraser.erase_range(0, disk->size()); !erased) {
        return std::unexpected(erased.error());
    }
    if (auto flushed = disk->flush(); !flushed) {
        return std::unexpected(flushed.error());
    }
    const auto left = find_signatures(*disk, 0, disk->size());
    if (!left) {
        return std::unexpected(left.error());
    }
    if (!left->empty()) {
        return fail(FaultKind::storage, path + " still shows " + left->front().name + " after it was zeroed");
    }
    if (auto reread = disk->reread_partition_table(); !reread) {
        return std::unexpected(reread.error());
    }
    return eraser.outcome();
}

}  // namespace agent
