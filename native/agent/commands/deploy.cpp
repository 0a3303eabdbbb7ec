#include "../config_drive.hpp"
#include "commands.hpp"

#include <memory>

namespace agent {

namespace {

Result<Json> write_drive(CommandContext& context, const Bytes& image, const Json& hints, const Json& step)
{
    const auto disk = root_disk_for(context, hints);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    const auto written = write_config_drive(context.machine, context.log, disk->name, image);
    if (!written) {
        return std::unexpected(written.error());
    }
    return Json{{"deploy_result", {{"partition", written->partition}, {"size", written->size}}}, {"deploy_step", step}};
}

}  // namespace

Result<CommandJob> prepare_get_deploy_steps(const Json&)
{
    // write_configdrive has no priority of its own: the conductor knows when the image is on the disk.
    return [](CommandContext&) -> Result<Json> {
        return Json{
            {"deploy_steps",
             {{"ironrack", Json::array({{{"step", "write_configdrive"}, {"interface", "deploy"}, {"priority", 0}, {"reboot_requested", false}}})}}},
            {"hardware_manager_version", hardware_manager_version()},
        };
    };
}

Result<CommandJob> prepare_execute_deploy_step(const Json& params)
{
    auto step = object_field(params, "step");
    if (!step) {
        return std::unexpected(step.error());
    }
    const auto name = text_field(*step, "step");
    auto arguments = object_field(*step, "args");
    if (!name || !arguments) {
        return std::unexpected(name ? arguments.error() : name.error());
    }
    auto hints = root_device_hints(*arguments);
    if (hints && hints->empty()) {
        hints = root_device_hints(params);
    }
    if (!hints) {
        return std::unexpected(hints.error());
    }
    if (*name != "write_configdrive") {
        return fail(FaultKind::invalid, "no deploy step '" + name->substr(0, 64) + "'");
    }
    const auto version = check_step_version(params, "deploy_version");
    if (!version && version.error().kind != FaultKind::version_mismatch) {
        return std::unexpected(version.error());
    }
    const auto text = text_field(*arguments, "configdrive");
    if (!text) {
        return std::unexpected(text.error());
    }
    auto image = decode_config_drive(*text);
    if (!image) {
        return std::unexpected(image.error());
    }
    // The answer names the step without the drive: it may hold keys and passwords.
    Json named = *step;
    named["args"]["configdrive"] = "***";
    return [image = std::make_shared<const Bytes>(std::move(*image)), hints = std::move(*hints), named, version](CommandContext& context) -> Result<Json> {
        return version ? write_drive(context, *image, hints, named) : std::unexpected(version.error());
    };
}

}  // namespace agent
