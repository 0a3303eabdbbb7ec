// The UEFI boot entry of the deployed system, written to the firmware's variables through efivarfs.
// @source UEFI 2.10 §3.1 (boot manager), §10.3 (device paths)
#pragma once

#include "bytes.hpp"
#include "fault.hpp"
#include "log.hpp"
#include "machine.hpp"
#include "partition_table.hpp"

#include <optional>
#include <string>
#include <vector>

namespace agent {

struct LoadOption {
    std::uint32_t attributes = 0;
    std::string description;
    Bytes path_list;  // packed device paths, the end node included
    Bytes optional_data;
};

constexpr std::uint32_t load_option_active = 1;

Bytes encode_load_option(const LoadOption& option);
Result<LoadOption> decode_load_option(std::span<const std::uint8_t> bytes);

// HD(partition)/File(loader): firmware finds the disk by the table's signature, whatever the controller.
Bytes hard_drive_path(const PartitionTable& table, const Partition& partition, const std::string& loader);

// Makes `description` the first entry of BootOrder and answers its name ("Boot0003"). Entries whose description starts
// with `replaced_prefix` go; all others keep their place.
Result<std::string> install_boot_entry(const Machine& machine, Log& log, const LoadOption& option, const std::string& replaced_prefix);

}  // namespace agent
