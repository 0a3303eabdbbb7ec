#include "efi_loader.hpp"

#include <algorithm>
#include <cctype>

namespace agent {

namespace {

#if defined(__aarch64__)
constexpr const char* csv_name = "BOOTAA64.CSV";
constexpr const char* loaders[] = {"shimaa64.efi", "grubaa64.efi", "systemd-bootaa64.efi"};
constexpr const char* fallback_loader = "BOOTAA64.EFI";
#else
constexpr const char* csv_name = "BOOTX64.CSV";
constexpr const char* loaders[] = {"shimx64.efi", "grubx64.efi", "systemd-bootx64.efi"};
constexpr const char* fallback_loader = "BOOTX64.EFI";
#endif

using Entry = FatVolume::Entry;

const Entry* find(const std::vector<Entry>& entries, std::string_view name, bool is_directory)
{
    const auto at = std::ranges::find_if(entries, [&](const Entry& entry) { return entry.is_directory == is_directory && FatVolume::same_name(entry.name, name); });
    return at == entries.end() ? nullptr : &*at;
}

std::string printable(std::string text)
{
    std::erase_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    return text.substr(0, 64);
}

// shim's README.fallback: UTF-16 lines "FILE,LABEL,ARGUMENTS,COMMENT". The first line decides.
std::optional<EfiLoader> loader_in_csv(std::span<const std::uint8_t> bytes, const std::string& directory, const std::vector<Entry>& entries)
{
    if (bytes.size() >= 2 && little_endian<std::uint16_t>(bytes, 0) == 0xfeff) {
        bytes = bytes.subspan(2);
    }
    const std::string text = from_utf16(bytes);
    const std::string line = text.substr(0, text.find_first_of("\r\n"));
    const auto comma = line.find(',');
    const std::string file = line.substr(0, comma);
    if (comma == std::string::npos || find(entries, file, false) == nullptr) {
        return std::nullopt;
    }
    const std::string rest = line.substr(comma + 1);
    const std::string label = printable(rest.substr(0, rest.find(',')));
    return EfiLoader{.path = "\\EFI\\" + directory + "\\" + file, .label = label.empty() ? directory : label};
}

}  // namespace

Result<EfiLoader> find_efi_loader(const FatVolume& volume)
{
    const auto root = volume.list_root();
    if (!root) {
        return std::unexpected(root.error());
    }
    const auto none = [] { return fail(FaultKind::not_found, "no boot loader on the EFI system partition"); };
    const Entry* efi = find(*root, "EFI", true);
    if (efi == nullptr) {
        return none();
    }
    auto vendors = volume.list(*efi);
    if (!vendors) {
        return std::unexpected(vendors.error());
    }
    std::ranges::sort(*vendors, {}, &Entry::name);

    std::optional<EfiLoader> by_name;
    std::optional<EfiLoader> fallback;
    for (const Entry& vendor : *vendors) {
        if (!vendor.is_directory) {
            continue;
        }
        const auto entries = volume.list(vendor);
        if (!entries) {
            return std::unexpected(entries.error());
        }
        const std::string directory = printable(vendor.name);
        if (FatVolume::same_name(vendor.name, "BOOT")) {
            if (const Entry* file = find(*entries, fallback_loader, false)) {
                fallback = EfiLoader{.path = "\\EFI\\" + directory + "\\" + file->name, .label = "disk"};
            }
            continue;
        }
        if (const Entry* csv = find(*entries, csv_name, false)) {
            const auto bytes = volume.read(*csv, 4096);
            if (!bytes) {
                return std::unexpected(bytes.error());
            }
            if (auto loader = loader_in_csv(*bytes, directory, *entries)) {
                return *loader;
            }
        }
        for (const char* name : loaders) {
            const Entry* file = find(*entries, name, false);
            if (file != nullptr && !by_name) {
                by_name = EfiLoader{.path = "\\EFI\\" + directory + "\\" + file->name, .label = directory};
            }
        }
    }
    if (by_name) {
        return *by_name;
    }
    return fallback ? Result<EfiLoader>(*fallback) : none();
}

}  // namespace agent
