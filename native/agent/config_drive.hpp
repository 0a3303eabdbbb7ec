// The config drive: a small filesystem that cloud-init finds by its label, in a partition at the disk's end.
#pragma once

#include "bytes.hpp"
#include "fault.hpp"
#include "log.hpp"
#include "machine.hpp"
#include "partition_table.hpp"

#include <string>
#include <string_view>

namespace agent {

struct ConfigDriveWritten {
    std::string partition;  // "/dev/sda3"
    std::uint64_t size;     // bytes written
};

// base64 of a filesystem image, gzip'ed or plain; at most 64 MiB unpacked.
Result<Bytes> decode_config_drive(std::string_view text);

// Writes the image into the partition that carries the label config-2 (a fault if it is too small), else into a new one
// at the disk's end. Repeating it gives the same partition.
Result<ConfigDriveWritten> write_config_drive(const Machine& machine, Log& log, const std::string& disk, ByteSpan image);

}  // namespace agent
