#include "api_client.hpp"

#include <charconv>

namespace agent {

namespace {

constexpr int major_version = 1;
constexpr int wanted_minor = 68;
constexpr std::size_t least_token_length = 32;
constexpr std::chrono::seconds call_deadline(30);

// "1.93" → 93; nothing for another major version.
std::optional<int> minor_of(std::string_view version)
{
    const std::string prefix = std::to_string(major_version) + ".";
    if (!version.starts_with(prefix)) {
        return std::nullopt;
    }
    int minor = 0;
    const auto [end, error] = std::from_chars(version.data() + prefix.size(), version.data() + version.size(), minor);
    return error == std::errc() && end == version.data() + version.size() ? std::optional(minor) : std::nullopt;
}

// What the server says of a refusal, short enough for a log line.
std::string reason_in(const HttpAnswer& answer)
{
    std::string reason = answer.body.substr(0, 300);
    if (const auto document = parse_json(answer.body); document && document->is_object() && document->contains("error_message")) {
        const Json& message = (*document)["error_message"];
        const auto inner = message.is_string() ? parse_json(message.get_ref<const std::string&>()) : Result<Json>(message);
        if (inner && inner->is_object()) {
            reason = optional_text_field(*inner, "faultstring").value_or(std::nullopt).value_or(reason);
        }
    }
    return std::to_string(answer.status) + " " + reason;
}

Result<void> judge(const HttpAnswer& answer)
{
    if (answer.status >= 200 && answer.status < 300) {
        return {};
    }
    const FaultKind kind = answer.status == 404 ? FaultKind::not_found : answer.status == 409 ? FaultKind::busy : answer.status >= 400 && answer.status < 500 ? FaultKind::refused : FaultKind::unreachable;
    return fail(kind, reason_in(answer));
}

}  // namespace

std::string choose_version(const std::string& root_document)
{
    int newest = wanted_minor;
    if (const auto root = parse_json(root_document); root && root->is_object() && root->contains("default_version")) {
        const auto version = optional_text_field((*root)["default_version"], "version");
        if (version && *version) {
            newest = std::min(minor_of(**version).value_or(wanted_minor), wanted_minor);
        }
    }
    return std::to_string(major_version) + "." + std::to_string(newest);
}

Result<LookupAnswer> parse_lookup(const std::string& body)
{
    const auto document = parse_json(body);
    if (!document) {
        return fail(document.error(), "lookup");
    }
    const auto node = object_field(*document, "node");
    const auto config = object_field(*document, "config");
    if (!node || !config) {
        return fail(node ? config.error() : node.error(), "lookup");
    }
    LookupAnswer answer;
    auto uuid = text_field(*node, "uuid");
    const auto timeout = number_field(*config, "heartbeat_timeout", 300, 1, 86400);
    const auto token = optional_text_field(*config, "agent_token");
    if (!uuid) {
        return fail(uuid.error(), "lookup");
    }
    if (!timeout) {
        return fail(timeout.error(), "lookup");
    }
    if (!token) {
        return fail(token.error(), "lookup");
    }
    for (const char c : *uuid) {
        // It becomes part of a path.
        if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '_' && c != '.') {
            return fail(FaultKind::malformed, "lookup: the node's uuid has characters that a uuid has not");
        }
    }
    answer.node_uuid = std::move(*uuid);
    answer.heartbeat_timeout = std::chrono::seconds(*timeout);
    if (*token && (*token)->find_first_not_of('*') != std::string::npos) {
        if ((*token)->size() < least_token_length) {
            return fail(FaultKind::malformed, "lookup: the agent token is shorter than 32 characters");
        }
        answer.token = Secret(**token);
    }
    return answer;
}

Result<HttpAnswer> ApiClient::call(const Url& url, const std::string& method, const std::string& path, const std::string& body, const std::stop_token& stop)
{
    HttpCall call = {
        .method = method,
        .url = url,
        .target = url.path + path,
        .headers = {{"Accept", "application/json"}, {"User-Agent", "ironrack-agent"}},
        .body = body,
        .verify_peer = verify_peer_,
    };
    if (call.target.empty()) {
        call.target = "/";
    }
    if (version_) {
        call.headers.push_back({"X-OpenStack-Ironic-API-Version", *version_});
    }
    if (!body.empty()) {
        call.headers.push_back({"Content-Type", "application/json"});
    }
    return call_http(call, call_deadline, stop);
}

std::string ApiClient::version(const std::stop_token& stop)
{
    if (!version_) {
        const auto root = call(api_, "GET", "/", "", stop);
        if (root && root->status == 200) {
            version_ = choose_version(root->body);
            log_.info("api.version", {{"version", *version_}});
        }
    }
    return version_.value_or("");
}

Result<LookupAnswer> ApiClient::lookup(const std::vector<std::string>& addresses, const std::string& node_uuid, const std::stop_token& stop)
{
    if (version(stop).empty()) {
        return fail(FaultKind::unreachable, api_.authority() + ": no API there");
    }
    std::string query;
    for (const std::string& address : addresses) {
        query += (query.empty() ? "?addresses=" : ",") + address;
    }
    if (!node_uuid.empty()) {
        query += (query.empty() ? "?node_uuid=" : "&node_uuid=") + node_uuid;
    }
    const auto answer = call(api_, "GET", "/v1/lookup" + query, "", stop);
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (const auto verdict = judge(*answer); !verdict) {
        return std::unexpected(verdict.error());
    }
    return parse_lookup(answer->body);
}

Result<void> ApiClient::heartbeat(const Heartbeat& beat, const std::stop_token& stop)
{
    const Json body = {
        {"callback_url", beat.callback_url},   {"agent_version", beat.agent_version},
        {"agent_token", beat.token.reveal()},  {"agent_verify_ca", beat.certificate},
    };
    const auto answer = call(api_, "POST", "/v1/heartbeat/" + beat.node_uuid, dump_json(body), stop);
    return answer ? judge(*answer) : std::unexpected(answer.error());
}

Result<void> ApiClient::continue_inspection(const Url& callback, const Json& inspection, const std::stop_token& stop)
{
    if (version(stop).empty()) {
        return fail(FaultKind::unreachable, api_.authority() + ": no API there");
    }
    const auto answer = call(callback, "POST", "", dump_json(inspection), stop);
    return answer ? judge(*answer) : std::unexpected(answer.error());
}

}  // namespace agent
