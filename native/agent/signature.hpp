// Traces that filesystems, volume managers and RAID leave on a disk, by which a later system would take it for theirs.
#pragma once

#include "block_device.hpp"

#include <string>
#include <vector>

namespace agent {

struct Signature {
    std::string name;      // "ext4", "LVM2", "mdadm 1.2", "GPT"
    std::uint64_t offset;  // bytes from the start of the disk
    std::uint64_t length;
};

// The signatures in a range of a disk (a partition, or the whole of it).
Result<std::vector<Signature>> find_signatures(const BlockDevice& disk, std::uint64_t offset, std::uint64_t length);

}  // namespace agent
