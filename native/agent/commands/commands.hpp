// How each command reads its parameters; the table is in commands.cpp.
#pragma once

#include "../command.hpp"
#include "../inventory/disks.hpp"

namespace agent {

Result<CommandJob> prepare_get_clean_steps(const Json& params);
Result<CommandJob> prepare_execute_clean_step(const Json& params);
Result<CommandJob> prepare_get_deploy_steps(const Json& params);
Result<CommandJob> prepare_execute_deploy_step(const Json& params);
Result<CommandJob> prepare_install_bootloader(const Json& params);
Result<CommandJob> prepare_start_iscsi_target(const Json& params);
Result<CommandJob> prepare_stop_iscsi_target(const Json& params);
Result<CommandJob> prepare_collect_system_logs(const Json& params);
Result<CommandJob> prepare_get_hardware_info(const Json& params);
Result<CommandJob> prepare_power_off(const Json& params);
Result<CommandJob> prepare_run_image(const Json& params);
Result<CommandJob> prepare_sync(const Json& params);
Result<CommandJob> prepare_lockdown(const Json& params);

// The version of this agent's list of steps: a conductor that listed the steps of another gets CLEAN_VERSION_MISMATCH.
Json hardware_manager_version();
Result<void> check_step_version(const Json& params, std::string_view field);

// The disk to work on: the hints in the parameters (root_device, or node.properties.root_device), else the disk that
// an earlier command of this boot chose, else the choice without hints.
Result<Disk> root_disk_for(CommandContext& context, const Json& hints);
Result<Json> root_device_hints(const Json& params);

}  // namespace agent
