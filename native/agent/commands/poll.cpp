#include "../inventory/inventory.hpp"
#include "commands.hpp"

namespace agent {

Result<CommandJob> prepare_get_hardware_info(const Json&)
{
    return [](CommandContext& context) -> Result<Json> { return collect_inventory(context.machine, context.command_line); };
}

}  // namespace agent
