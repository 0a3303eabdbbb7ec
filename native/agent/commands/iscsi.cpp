#include "../block_device.hpp"
#include "../metadata_erase.hpp"
#include "commands.hpp"

namespace agent {

namespace {

struct StartRequest {
    std::string iqn;
    std::uint16_t port;
    bool wipe_disk_metadata;
    std::optional<Chap> chap;
    Json hints;
};

Result<std::optional<Chap>> chap_in(const Json& params)
{
    if (!params.contains("chap") || params["chap"].is_null()) {
        return std::nullopt;
    }
    const auto object = object_field(params, "chap");
    if (!object) {
        return std::unexpected(object.error());
    }
    auto username = text_field(*object, "username");
    auto password = text_field(*object, "password");
    if (!username || !password) {
        return std::unexpected(username ? password.error() : username.error());
    }
    // LIO keeps 256 bytes of each; a line break would end the attribute early.
    for (const std::string* text : {&*username, &*password}) {
        if (text->empty() || text->size() > 255 || text->find_first_of(std::string("\n\r\0", 3)) != std::string::npos) {
            return fail(FaultKind::invalid, "field 'chap': user name and password must have 1 to 255 characters without line breaks");
        }
    }
    return Chap{.username = std::move(*username), .password = Secret(std::move(*password))};
}

Result<std::string> iqn_in(const Json& params)
{
    auto iqn = text_field(params, "iqn");
    if (iqn && !is_iscsi_name(*iqn)) {
        return fail(FaultKind::invalid, "field 'iqn' is no iSCSI name (RFC 7143 §4.2.7)");
    }
    return iqn;
}

Result<StartRequest> parse_start(const Json& params)
{
    auto iqn = iqn_in(params);
    const auto port = number_field(params, "portal_port", 3260, 1, 65535);
    const auto wipe = flag_field(params, "wipe_disk_metadata", false);
    auto chap = chap_in(params);
    auto hints = root_device_hints(params);
    if (!iqn) {
        return std::unexpected(iqn.error());
    }
    if (!port) {
        return std::unexpected(port.error());
    }
    if (!wipe) {
        return std::unexpected(wipe.error());
    }
    if (!chap) {
        return std::unexpected(chap.error());
    }
    if (!hints) {
        return std::unexpected(hints.error());
    }
    return StartRequest{.iqn = std::move(*iqn), .port = static_cast<std::uint16_t>(*port), .wipe_disk_metadata = *wipe, .chap = std::move(*chap), .hints = std::move(*hints)};
}

Result<Json> start_target(CommandContext& context, const StartRequest& request)
{
    const auto disk = root_disk_for(context, request.hints);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    // A target holds its disk exclusively: away with it before the metadata is wiped.
    if (auto gone = context.lio.withdraw_all(); !gone) {
        return std::unexpected(gone.error());
    }
    if (request.wipe_disk_metadata) {
        if (const auto erased = erase_metadata(disk->name, context.log, context.stop); !erased) {
            return std::unexpected(erased.error());
        }
    }
    const IscsiTarget target = {.iqn = request.iqn, .port = request.port, .ipv6 = context.ipv6, .disk = disk->name, .chap = request.chap};
    if (auto published = context.lio.publish(target); !published) {
        return std::unexpected(published.error());
    }
    return Json{
        {"iscsi_target_iqn", request.iqn}, {"lun", Lio::lun},          {"portal_port", request.port},
        {"device", disk->name},            {"size", disk->size},       {"logical_sector_size", disk->logical_sectors},
    };
}

Result<Json> stop_target(CommandContext& context, const std::string& iqn)
{
    const auto path = context.lio.published_disk(iqn);
    if (auto gone = context.lio.withdraw(iqn); !gone) {
        return std::unexpected(gone.error());
    }
    if (!path) {
        return Json{{"iscsi_target_iqn", iqn}, {"device", nullptr}};
    }
    auto disk = BlockDevice::open(*path, BlockDevice::Use::write);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    if (auto flushed = disk->flush(); !flushed) {
        return std::unexpected(flushed.error());
    }
    if (auto reread = disk->reread_partition_table(); !reread) {
        return std::unexpected(reread.error());
    }
    return Json{{"iscsi_target_iqn", iqn}, {"device", *path}};
}

}  // namespace

Result<CommandJob> prepare_start_iscsi_target(const Json& params)
{
    auto request = parse_start(params);
    if (!request) {
        return std::unexpected(request.error());
    }
    return [request = std::move(*request)](CommandContext& context) { return start_target(context, request); };
}

Result<CommandJob> prepare_stop_iscsi_target(const Json& params)
{
    auto iqn = iqn_in(params);
    if (!iqn) {
        return std::unexpected(iqn.error());
    }
    return [iqn = std::move(*iqn)](CommandContext& context) { return stop_target(context, iqn); };
}

}  // namespace agent
