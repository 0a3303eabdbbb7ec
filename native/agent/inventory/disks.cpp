#include "disks.hpp"

#include "../block_device.hpp"
#include "../file.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <memory>

namespace agent {

namespace {

// A node's name without "/dev/" that is never a fixed disk of its own.
bool is_never_a_disk(std::string_view name)
{
    constexpr std::array prefixes = {"loop", "ram", "zram", "sr", "fd", "nbd", "dm-", "md", "mtdblock", "ubiblock", "drbd", "rbd"};
    if (std::ranges::any_of(prefixes, [&](const char* prefix) { return name.starts_with(prefix); })) {
        return true;
    }
    return name.starts_with("mmcblk") && (name.find("boot") != std::string_view::npos || name.find("rpmb") != std::string_view::npos);
}

std::string real_path(const std::string& path)
{
    const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
    return resolved ? std::string(resolved.get()) : std::string();
}

std::vector<std::string> split_path(const std::string& path)
{
    std::vector<std::string> parts;
    std::size_t start = 0;
    while (start < path.size()) {
        const std::size_t end = std::min(path.find('/', start), path.size());
        if (end > start) {
            parts.push_back(path.substr(start, end - start));
        }
        start = end + 1;
    }
    return parts;
}

bool has_digits_after(std::string_view text, std::string_view prefix)
{
    return text.starts_with(prefix) && text.size() > prefix.size() &&
           std::ranges::all_of(text.substr(prefix.size()), [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool is_pci_address(std::string_view text)  // 0000:00:1f.2
{
    return text.size() >= 12 && text[4] == ':' && text[7] == ':' && text[10] == '.';
}

bool is_hctl(std::string_view text)
{
    return std::ranges::count(text, ':') == 3 && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0 || c == ':'; });
}

struct Place {
    std::optional<std::string> hctl;
    std::optional<std::string> tran;
    std::optional<std::string> by_path;
};

// What the device's place in sysfs says, e.g. /sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda.
// The path is spelled as udev's path_id does for PCI with virtio, NVMe, ATA, SAS and plain SCSI; other buses get none.
Place place_of(const std::vector<std::string>& parts)
{
    Place place;
    std::string pci;
    std::string ata;
    std::string nvme_namespace;
    std::string virtio;
    bool sas = false;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string& part = parts[i];
        if (is_pci_address(part)) {
            pci = part;
        } else if (has_digits_after(part, "ata")) {
            ata = part.substr(3);
        } else if (has_digits_after(part, "virtio")) {
            virtio = part;
        } else if (has_digits_after(part, "usb")) {
            place.tran = "usb";
        } else if (part.starts_with("end_device-")) {
            sas = true;
        } else if (has_digits_after(part, "session")) {
            place.tran = "iscsi";
        } else if (part.starts_with("rport-")) {
            place.tran = "fc";
        } else if (part.starts_with("mmc") && part.find(':') == std::string::npos) {
            place.tran = "mmc";
        } else if (part == "nvme" && i + 2 < parts.size()) {
            place.tran = "nvme";
            const auto n = parts.back().rfind('n');
            nvme_namespace = n == std::string::npos ? "" : parts.back().substr(n + 1);
        } else if (is_hctl(part)) {
            place.hctl = part;
        }
    }
    if (!place.tran) {
        place.tran = !ata.empty() ? std::optional<std::string>("sata") : sas ? std::optional<std::string>("sas") : !virtio.empty() ? std::optional<std::string>("virtio") : std::nullopt;
    }
    if (pci.empty() || place.tran == "usb" || place.tran == "iscsi" || place.tran == "fc") {
        return place;
    }
    const std::string base = "/dev/disk/by-path/pci-" + pci;
    if (!nvme_namespace.empty()) {
        place.by_path = base + "-nvme-" + nvme_namespace;
    } else if (!ata.empty()) {
        place.by_path = base + "-ata-" + ata;
    } else if (place.hctl && !sas) {
        // udev counts hosts from the controller's first; with one host per controller that is 0.
        place.by_path = base + "-scsi-0" + place.hctl->substr(place.hctl->find(':'));
    } else if (!virtio.empty()) {
        place.by_path = base;
    }
    return place;
}

// SCSI VPD page 0x80 (SPC-4 §7.8.3): 4 bytes of header, then the serial number, padded with blanks.
std::optional<std::string> serial_from_vpd(const std::string& path)
{
    const auto page = read_file(path, 256);
    if (!page || page->size() <= 4) {
        return std::nullopt;
    }
    std::string serial;
    for (const char c : std::string_view(*page).substr(4)) {
        if (c > 0x20 && c < 0x7f) {
            serial += c;
        }
    }
    return serial.empty() ? std::nullopt : std::optional(serial);
}

void read_world_wide_name(const std::string& directory, Disk& disk)
{
    auto wwid = read_line_of(directory + "/device/wwid");
    if (!wwid) {
        wwid = read_line_of(directory + "/wwid");
    }
    if (!wwid || wwid->starts_with("t10.")) {
        return;
    }
    if (!wwid->starts_with("naa.")) {
        disk.wwn = disk.wwn_with_extension = *wwid;  // eui.…, nvme.…: udev's spelling for NVMe
        return;
    }
    const std::string digits = wwid->substr(4);
    // An NAA 6 name has 16 bytes; udev gives the first eight as WWN and the others as vendor extension.
    disk.wwn = "0x" + digits.substr(0, 16);
    disk.wwn_with_extension = "0x" + digits;
    if (digits.size() > 16) {
        disk.wwn_vendor_extension = "0x" + digits.substr(16);
    }
}

std::optional<std::string> first_of(std::initializer_list<std::string> paths)
{
    for (const std::string& path : paths) {
        if (auto line = read_line_of(path)) {
            return line;
        }
    }
    return std::nullopt;
}

std::optional<Disk> disk_in_sysfs(const Machine& machine, const std::string& name)
{
    const std::string directory = machine.sysfs + "/block/" + name;
    const auto blocks = read_number_of(directory + "/size");  // always of 512 bytes
    if (!blocks || *blocks == 0 || read_number_of(directory + "/removable").value_or(0) != 0) {
        return std::nullopt;
    }
    // The second path of an NVMe namespace (nvme0c0n1) is hidden behind nvme0n1.
    if (read_number_of(directory + "/hidden").value_or(0) != 0) {
        return std::nullopt;
    }
    Disk disk;
    disk.name = "/dev/" + name;
    std::ranges::replace(disk.name, '!', '/');  // cciss!c0d0
    disk.size = *blocks * 512;
    disk.read_only = read_number_of(directory + "/ro").value_or(0) != 0;
    disk.rotational = read_number_of(directory + "/queue/rotational").value_or(0) != 0;
    disk.logical_sectors = static_cast<std::uint32_t>(read_number_of(directory + "/queue/logical_block_size").value_or(512));
    disk.physical_sectors = static_cast<std::uint32_t>(read_number_of(directory + "/queue/physical_block_size").value_or(512));
    disk.model = first_of({directory + "/device/model", directory + "/device/name"});
    disk.vendor = read_line_of(directory + "/device/vendor");
    disk.serial = first_of({directory + "/device/serial", directory + "/serial"});
    if (!disk.serial) {
        disk.serial = serial_from_vpd(directory + "/device/vpd_pg80");
    }
    read_world_wide_name(directory, disk);
    Place place = place_of(split_path(real_path(directory)));
    disk.hctl = std::move(place.hctl);
    disk.tran = std::move(place.tran);
    disk.by_path = std::move(place.by_path);
    return disk;
}

std::optional<Disk> disk_from_option(const std::string& path)
{
    const auto device = BlockDevice::open(path, BlockDevice::Use::read);
    if (!device || device->size() == 0) {
        return std::nullopt;
    }
    Disk disk;
    disk.name = path;
    disk.size = device->size();
    disk.logical_sectors = device->sector_size();
    disk.physical_sectors = device->sector_size();
    disk.model = "file";
    return disk;
}

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

}  // namespace

std::vector<Disk> collect_disks(const Machine& machine)
{
    std::vector<Disk> disks;
    if (!machine.disks.empty()) {
        for (const std::string& path : machine.disks) {
            if (auto disk = disk_from_option(path)) {
                disks.push_back(std::move(*disk));
            }
        }
        return disks;
    }
    for (const std::string& name : entries_of(machine.sysfs + "/block")) {
        if (!is_never_a_disk(name)) {
            if (auto disk = disk_in_sysfs(machine, name)) {
                disks.push_back(std::move(*disk));
            }
        }
    }
    // sdb before sdaa: shorter names first.
    std::ranges::sort(disks, [](const Disk& a, const Disk& b) {
        return a.name.size() != b.name.size() ? a.name.size() < b.name.size() : a.name < b.name;
    });
    return disks;
}

Json disk_as_json(const Disk& disk)
{
    return {
        {"name", disk.name},
        {"model", or_null(disk.model)},
        {"size", disk.size},
        {"rotational", disk.rotational},
        {"wwn", or_null(disk.wwn)},
        {"wwn_with_extension", or_null(disk.wwn_with_extension)},
        {"wwn_vendor_extension", or_null(disk.wwn_vendor_extension)},
        {"vendor", or_null(disk.vendor)},
        {"serial", or_null(disk.serial)},
        {"hctl", or_null(disk.hctl)},
        {"by_path", or_null(disk.by_path)},
        {"tran", or_null(disk.tran)},
        {"logical_sectors", disk.logical_sectors},
        {"physical_sectors", disk.physical_sectors},
    };
}

}  // namespace agent
