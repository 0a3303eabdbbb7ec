#include "commands.hpp"

#include <unistd.h>

namespace agent {

namespace {

Result<Json> sync_and(CommandContext& context, PowerAction action)
{
    ::sync();
    context.power(action);
    return Json::object();
}

}  // namespace

Result<CommandJob> prepare_sync(const Json&)
{
    return [](CommandContext&) -> Result<Json> {
        ::sync();
        return Json::object();
    };
}

Result<CommandJob> prepare_power_off(const Json&)
{
    return [](CommandContext& context) { return sync_and(context, PowerAction::power_off); };
}

Result<CommandJob> prepare_run_image(const Json& params)
{
    const auto reboot = flag_field(params, "reboot", true);
    if (!reboot) {
        return std::unexpected(reboot.error());
    }
    const PowerAction action = *reboot ? PowerAction::reboot : PowerAction::power_off;
    return [action](CommandContext& context) { return sync_and(context, action); };
}

}  // namespace agent
