#include "config_drive.hpp"

#include "base64.hpp"
#include "gzip.hpp"

#include <algorithm>

namespace agent {

namespace {

constexpr const char* label = "config-2";
constexpr std::size_t most_bytes = 64 * 1024 * 1024;  // nova's and Ironic's limit
constexpr std::size_t iso_volume_label = 32768 + 40;  // ECMA-119 §8.4.7, in the primary volume descriptor
constexpr std::size_t iso_label_size = 32;

bool is_config_label(std::span<const std::uint8_t> bytes)
{
    std::string text(bytes.begin(), bytes.end());
    text.erase(text.find_last_not_of(std::string(" \0", 2)) + 1);
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text == label;
}

// Whether a partition holds an ISO 9660 or FAT filesystem labelled config-2. An MBR has no names of its own.
bool holds_config_drive(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length)
{
    struct LabelPlace {
        std::size_t offset;
        std::size_t size;
    };
    constexpr LabelPlace places[] = {{iso_volume_label, iso_label_size}, {43, 11} /* FAT16 */, {71, 11} /* FAT32 */};
    return std::ranges::any_of(places, [&](const LabelPlace& place) {
        Bytes bytes(place.size);
        return place.offset + place.size <= length && disk.read(offset + place.offset, bytes).has_value() && is_config_label(bytes);
    });
}

}  // namespace

Result<Bytes> decode_config_drive(std::string_view text)
{
    auto bytes = decode_base64(text);
    if (!bytes) {
        return fail(bytes.error(), "config drive");
    }
    if (is_gzip(*bytes)) {
        bytes = gunzip(*bytes, most_bytes);
        if (!bytes) {
            return fail(bytes.error(), "config drive");
        }
    }
    if (bytes->empty() || bytes->size() > most_bytes) {
        return fail(FaultKind::invalid, "config drive: " + std::to_string(bytes->size()) + " bytes; it must have 1 byte to 64 MiB");
    }
    return bytes;
}

Result<ConfigDriveWritten> write_config_drive(const Machine& machine, Log& log, const std::string& path, ByteSpan image)
{
    auto disk = BlockDevice::open(path, BlockDevice::Use::write);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    const auto table = read_partition_table(*disk);
    if (!table) {
        return std::unexpected(table.error());
    }
    std::optional<Partition> target;
    for (const Partition& partition : table->partitions) {
        const bool labelled = partition.name == label || holds_config_drive(*disk, table->offset_of(partition), table->size_of(partition));
        if (labelled && table->size_of(partition) < image.size()) {
            // A second one of that label beside it would leave it to chance which one the system reads.
            return fail(FaultKind::invalid, partition_path(path, partition.number) + " is labelled config-2 and too small for " + std::to_string(image.size()) + " bytes");
        }
        if (labelled) {
            target = partition;
            log.info("config-drive.partition-reused", {{"disk", path}, {"number", partition.number}});
            break;
        }
    }
    if (!target) {
        auto added = append_partition(*disk, machine, image.size(), label);
        if (!added) {
            return std::unexpected(added.error());
        }
        target = *added;
        log.info("config-drive.partition-added", {{"disk", path}, {"number", target->number}, {"first_lba", target->first_lba}});
    }
    // Through the whole disk: the partition's own node may not have appeared yet.
    const std::uint64_t offset = table->offset_of(*target);
    const std::uint64_t size = table->size_of(*target);
    if (auto written = disk->write(offset, image); !written) {
        return std::unexpected(written.error());
    }
    // What follows the image in the partition is an older drive's at most; the filesystem says its own length.
    if (auto flushed = disk->flush(); !flushed) {
        return std::unexpected(flushed.error());
    }
    Bytes back(image.size());
    if (auto read = disk->read(offset, back); !read) {
        return std::unexpected(read.error());
    }
    if (!std::ranges::equal(back, image)) {
        return fail(FaultKind::storage, "the config drive on " + path + " reads back differently");
    }
    if (auto reread = disk->reread_partition_table(); !reread) {
        log.warn("config-drive.table-not-reread", {{"disk", path}, {"reason", reread.error().message}});
    }
    log.info("config-drive.written", {{"disk", path}, {"bytes", image.size()}, {"partition_bytes", size}});
    return ConfigDriveWritten{.partition = partition_path(path, target->number), .size = image.size()};
}

}  // namespace agent
