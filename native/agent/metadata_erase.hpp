// The quick erase: afterwards no firmware and no system finds a partition, filesystem, volume or array on the disk.
#pragma once

#include "block_device.hpp"
#include "log.hpp"

#include <stop_token>
#include <vector>

namespace agent {

struct MetadataErased {
    std::vector<std::string> found;  // names of the signatures that were there
    std::uint64_t zeroed = 0;        // bytes
};

// Zeroes the first and last 4 MiB of every partition and then of the disk, every signature elsewhere, and reads back
// that none is left. Partitions come first, so that an interrupted erase still finds them when it is repeated.
Result<MetadataErased> erase_metadata(const std::string& path, Log& log, const std::stop_token& stop);

}  // namespace agent
