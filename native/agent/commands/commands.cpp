#include "commands.hpp"

#include "../root_device.hpp"

namespace agent {

namespace {

constexpr CommandDefinition definitions[] = {
    {"clean.get_clean_steps", false, prepare_get_clean_steps},
    {"clean.execute_clean_step", true, prepare_execute_clean_step},
    {"deploy.get_deploy_steps", false, prepare_get_deploy_steps},
    {"deploy.execute_deploy_step", true, prepare_execute_deploy_step},
    {"image.install_bootloader", true, prepare_install_bootloader},
    {"iscsi.start_iscsi_target", true, prepare_start_iscsi_target},
    {"iscsi.stop_iscsi_target", true, prepare_stop_iscsi_target},
    {"log.collect_system_logs", false, prepare_collect_system_logs},
    {"poll.get_hardware_info", false, prepare_get_hardware_info},
    {"standby.power_off", true, prepare_power_off},
    {"standby.run_image", true, prepare_run_image},
    {"standby.sync", false, prepare_sync},
    {"system.lockdown", false, prepare_lockdown},
};

}  // namespace

std::span<const CommandDefinition> command_definitions() { return definitions; }

Json hardware_manager_version() { return {{"ironrack", "1"}}; }

Result<void> check_step_version(const Json& params, std::string_view field)
{
    const auto version = object_field(params, field);
    if (!version) {
        return std::unexpected(version.error());
    }
    if (!version->empty() && *version != hardware_manager_version()) {
        return fail(FaultKind::version_mismatch, "the steps were listed by an agent of another version; list them again");
    }
    return {};
}

Result<Json> root_device_hints(const Json& params)
{
    auto hints = object_field(params, "root_device");
    if (!hints || !hints->empty()) {
        return hints;
    }
    const auto node = object_field(params, "node");
    const auto properties = node ? object_field(*node, "properties") : node;
    return properties ? object_field(*properties, "root_device") : properties;
}

Result<Disk> root_disk_for(CommandContext& context, const Json& hints)
{
    const auto disks = collect_disks(context.machine);
    if (hints.empty()) {
        if (const auto remembered = context.root_disk.remembered()) {
            for (const Disk& disk : disks) {
                if (disk.name == *remembered) {
                    return disk;
                }
            }
        }
    }
    auto chosen = choose_root_device(disks, hints);
    if (chosen) {
        context.root_disk.remember(chosen->name);
    }
    return chosen;
}

}  // namespace agent
