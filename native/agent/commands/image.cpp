#include "../efi_boot_entry.hpp"
#include "../efi_loader.hpp"
#include "../inventory/boot.hpp"
#include "commands.hpp"

namespace agent {

namespace {

constexpr const char* label_prefix = "ironrack: ";

struct InstallRequest {
    bool uefi;
    std::string system_partition;  // "" or a partition's GUID
    Json hints;
};

// The partition that the caller names, else the first EFI system partition.
const Partition* find_system_partition(const PartitionTable& table, const std::string& wanted)
{
    const auto guid = parse_guid(wanted);
    for (const Partition& partition : table.partitions) {
        if (guid && partition.unique == *guid) {
            return &partition;
        }
    }
    for (const Partition& partition : table.partitions) {
        if (partition.is_efi_system()) {
            return &partition;
        }
    }
    return nullptr;
}

Result<Json> install_for_uefi(CommandContext& context, const InstallRequest& request)
{
    const auto chosen = root_disk_for(context, request.hints);
    if (!chosen) {
        return std::unexpected(chosen.error());
    }
    const auto disk = BlockDevice::open(chosen->name, BlockDevice::Use::read);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    const auto table = read_partition_table(*disk);
    if (!table) {
        return std::unexpected(table.error());
    }
    const Partition* partition = find_system_partition(*table, request.system_partition);
    if (partition == nullptr) {
        return fail(FaultKind::not_found, chosen->name + " has no EFI system partition");
    }
    const auto volume = FatVolume::open(*disk, table->offset_of(*partition), table->size_of(*partition));
    if (!volume) {
        return fail(volume.error(), partition_path(chosen->name, partition->number));
    }
    const auto loader = find_efi_loader(*volume);
    if (!loader) {
        return fail(loader.error(), partition_path(chosen->name, partition->number));
    }
    Json result = {{"device", chosen->name}, {"partition", partition_path(chosen->name, partition->number)}, {"loader", loader->path}, {"entry", nullptr}};
    if (!booted_with_uefi(context.machine)) {
        // The firmware's variables are out of reach now; the fallback path of the image has to do.
        context.log.warn("boot-entry.skipped", {{"reason", "the ramdisk was not booted with UEFI"}});
        return result;
    }
    const LoadOption option = {
        .attributes = load_option_active,
        .description = label_prefix + loader->label,
        .path_list = hard_drive_path(*table, *partition, loader->path),
        .optional_data = {},
    };
    const auto entry = install_boot_entry(context.machine, context.log, option, label_prefix);
    if (!entry) {
        return std::unexpected(entry.error());
    }
    result["entry"] = *entry;
    result["label"] = option.description;
    return result;
}

}  // namespace

Result<CommandJob> prepare_install_bootloader(const Json& params)
{
    const auto mode = optional_text_field(params, "target_boot_mode");
    const auto partition = optional_text_field(params, "efi_system_part_uuid");
    const auto root = optional_text_field(params, "root_uuid");
    auto hints = root_device_hints(params);
    const auto may_fail = flag_field(params, "ignore_bootloader_failure", false);
    for (const auto* text : {&mode, &partition, &root}) {
        if (!*text) {
            return std::unexpected(text->error());
        }
    }
    if (!hints) {
        return std::unexpected(hints.error());
    }
    if (!may_fail) {
        return std::unexpected(may_fail.error());
    }
    if (*mode && **mode != "uefi" && **mode != "bios") {
        return fail(FaultKind::invalid, "field 'target_boot_mode' must be uefi or bios");
    }
    InstallRequest request = {.uefi = *mode == "uefi", .system_partition = partition->value_or(""), .hints = std::move(*hints)};
    const bool by_firmware = !*mode;
    return [request, by_firmware, may_fail = *may_fail](CommandContext& context) -> Result<Json> {
        if (!(by_firmware ? booted_with_uefi(context.machine) : request.uefi)) {
            return Json{{"entry", nullptr}};  // a whole-disk image brings its boot sector
        }
        auto installed = install_for_uefi(context, request);
        if (!installed && may_fail) {
            context.log.warn("boot-entry.failed", {{"reason", installed.error().message}});
            return Json{{"entry", nullptr}, {"reason", installed.error().message}};
        }
        return installed;
    };
}

}  // namespace agent
