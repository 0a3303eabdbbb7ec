// Reads a FAT12, FAT16 or FAT32 volume, so that the EFI system partition needs no mount and no kernel module.
// @source Microsoft Extensible Firmware Initiative FAT32 File System Specification 1.03
#pragma once

#include "block_device.hpp"
#include "bytes.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace agent {

class FatVolume {
public:
    struct Entry {
        std::string name;  // the long name if there is one
        bool is_directory = false;
        std::uint32_t first_cluster = 0;
        std::uint32_t size = 0;  // bytes; 0 for directories
    };

    // The volume in a range of a disk; `malformed` if there is none.
    static Result<FatVolume> open(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length);

    Result<std::vector<Entry>> list_root() const;
    Result<std::vector<Entry>> list(const Entry& directory) const;

    // The file's first `most` bytes.
    Result<Bytes> read(const Entry& file, std::size_t most) const;

    // Name compare as FAT does for ASCII.
    static bool same_name(std::string_view a, std::string_view b);

private:
    explicit FatVolume(const BlockDevice& disk) : disk_(&disk) {}

    Result<Bytes> read_range(std::uint64_t from, std::size_t size) const;
    Result<Bytes> read_chain(std::uint32_t first_cluster, std::size_t most) const;
    Result<std::uint32_t> next_cluster(std::uint32_t cluster) const;
    static std::vector<Entry> parse_directory(std::span<const std::uint8_t> bytes);

    const BlockDevice* disk_;
    std::uint64_t offset_ = 0;
    std::uint64_t length_ = 0;
    int bits_ = 0;  // 12, 16 or 32
    std::uint64_t fat_start_ = 0;
    std::uint64_t root_start_ = 0;  // FAT12/16
    std::uint32_t root_size_ = 0;
    std::uint32_t root_cluster_ = 0;  // FAT32
    std::uint64_t data_start_ = 0;
    std::uint32_t cluster_size_ = 0;
    std::uint32_t clusters_ = 0;
};

}  // namespace agent
