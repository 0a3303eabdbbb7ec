#include "../disk_erase.hpp"
#include "../metadata_erase.hpp"
#include "commands.hpp"

namespace agent {

namespace {

struct CleanStep {
    std::string_view name;
    int priority;
    bool abortable;
    Result<Json> (*erase)(CommandContext&, const Disk&);
};

Result<Json> erase_metadata_of(CommandContext& context, const Disk& disk)
{
    const auto erased = erase_metadata(disk.name, context.log, context.stop);
    if (!erased) {
        return std::unexpected(erased.error());
    }
    return Json{{"method", "metadata"}, {"found", erased->found}, {"zeroed_bytes", erased->zeroed}};
}

Result<Json> erase_all_of(CommandContext& context, const Disk& disk)
{
    const auto erased = erase_disk(disk.name, context.log, context.stop, [&](std::uint64_t done) {
        context.progress({{"device", disk.name}, {"done_bytes", done}, {"total_bytes", disk.size}});
    });
    if (!erased) {
        return std::unexpected(erased.error());
    }
    return Json{{"method", *erased}};
}

// A second where the drive can forget its data by itself; else only what makes it look used.
Result<Json> erase_express(CommandContext& context, const Disk& disk)
{
    const auto erased = erase_disk_securely(disk.name, context.log);
    if (erased) {
        return Json{{"method", *erased}};
    }
    context.log.info("erase.no-secure-erase", {{"disk", disk.name}, {"reason", erased.error().message}});
    return erase_metadata_of(context, disk);
}

constexpr CleanStep steps[] = {
    {"erase_devices_metadata", 99, true, erase_metadata_of},
    {"erase_devices", 10, true, erase_all_of},
    {"erase_devices_express", 0, true, erase_express},
};

// Every disk is tried; one that fails does not spare the others.
Result<Json> run_step(CommandContext& context, const CleanStep& step)
{
    // A deployment that failed may have left its disk published.
    if (auto gone = context.lio.withdraw_all(); !gone) {
        return std::unexpected(gone.error());
    }
    Json results = Json::object();
    std::string failures;
    FaultKind kind = FaultKind::storage;
    for (const Disk& disk : collect_disks(context.machine)) {
        if (disk.read_only) {
            context.log.warn("erase.skipped", {{"disk", disk.name}, {"reason", "read-only"}});
            results[disk.name] = {{"method", "skipped"}, {"reason", "read-only"}};
            continue;
        }
        context.log.info("erase.started", {{"disk", disk.name}, {"step", step.name}, {"bytes", disk.size}});
        const auto erased = step.erase(context, disk);
        if (!erased) {
            context.log.error("erase.failed", {{"disk", disk.name}, {"step", step.name}, {"reason", erased.error().message}});
            failures += (failures.empty() ? "" : "; ") + disk.name + ": " + erased.error().message;
            kind = erased.error().kind;
            if (kind == FaultKind::cancelled) {
                break;
            }
            continue;
        }
        context.log.info("erase.ended", {{"disk", disk.name}, {"step", step.name}, {"outcome", dump_json(*erased)}});
        results[disk.name] = *erased;
    }
    if (!failures.empty()) {
        return fail(kind, std::string(step.name) + ": " + failures);
    }
    return results;
}

}  // namespace

Result<CommandJob> prepare_get_clean_steps(const Json&)
{
    return [](CommandContext&) -> Result<Json> {
        Json list = Json::array();
        for (const CleanStep& step : steps) {
            list.push_back({{"step", step.name}, {"interface", "deploy"}, {"priority", step.priority}, {"abortable", step.abortable}, {"reboot_requested", false}});
        }
        return Json{{"clean_steps", {{"ironrack", std::move(list)}}}, {"hardware_manager_version", hardware_manager_version()}};
    };
}

Result<CommandJob> prepare_execute_clean_step(const Json& params)
{
    auto wanted = object_field(params, "step");
    if (!wanted) {
        return std::unexpected(wanted.error());
    }
    const auto name = text_field(*wanted, "step");
    if (!name) {
        return std::unexpected(name.error());
    }
    const CleanStep* step = nullptr;
    for (const CleanStep& known : steps) {
        step = known.name == *name ? &known : step;
    }
    if (step == nullptr) {
        return fail(FaultKind::invalid, "no clean step '" + name->substr(0, 64) + "'");
    }
    const auto version = check_step_version(params, "clean_version");
    if (!version && version.error().kind != FaultKind::version_mismatch) {
        return std::unexpected(version.error());
    }
    return [step, wanted = std::move(*wanted), version](CommandContext& context) -> Result<Json> {
        if (!version) {
            return std::unexpected(version.error());
        }
        auto result = run_step(context, *step);
        if (!result) {
            return result;
        }
        return Json{{"clean_result", std::move(*result)}, {"clean_step", wanted}};
    };
}

}  // namespace agent
