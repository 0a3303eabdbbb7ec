// The disks of this machine, as Ironic's inventory describes them.
#pragma once

#include "../json_reader.hpp"
#include "../machine.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace agent {

struct Disk {
    std::string name;  // "/dev/sda"
    std::uint64_t size = 0;  // bytes
    std::optional<std::string> model;
    std::optional<std::string> vendor;
    std::optional<std::string> serial;
    std::optional<std::string> wwn;                   // "0x5000c500a1b2c3d4", "eui.…", as udev spells it
    std::optional<std::string> wwn_with_extension;
    std::optional<std::string> wwn_vendor_extension;
    std::optional<std::string> hctl;                  // "0:0:0:0"
    std::optional<std::string> by_path;               // "/dev/disk/by-path/pci-0000:00:05.0-ata-1"
    std::optional<std::string> tran;                  // sata, sas, nvme, virtio, usb, mmc, iscsi, fc
    bool rotational = false;
    bool read_only = false;
    std::uint32_t logical_sectors = 512;   // bytes
    std::uint32_t physical_sectors = 512;  // bytes

    bool is_usb() const { return tran == "usb"; }
};

// Fixed disks, ordered by name. Never: removable media, optical drives, floppies, loop, RAM, zram and network block
// devices, device mapper and software RAID, eMMC boot partitions, disks of size 0.
std::vector<Disk> collect_disks(const Machine& machine);

Json disk_as_json(const Disk& disk);

}  // namespace agent
