#include "commands.hpp"

namespace agent {

Result<CommandJob> prepare_lockdown(const Json&)
{
    return [](CommandContext& context) -> Result<Json> {
        context.log.info("agent.lockdown");
        context.lockdown();
        return Json::object();
    };
}

}  // namespace agent
