#include "command_server.hpp"

#include "instant.hpp"

#include <cctype>
#include <optional>

namespace agent {

const char* const agent_version = "ironrack-0.1.0";

namespace {

constexpr std::size_t small_body = 64 * 1024;             // from a peer that has not shown the token
constexpr std::size_t most_body = 96 * 1024 * 1024;       // a config drive of 64 MiB that does not shrink, in base64
constexpr std::chrono::seconds longest_wait(60);
constexpr std::string_view commands_path = "/v1/commands";

struct Target {
    std::string path;  // without a slash at its end
    std::vector<std::pair<std::string, std::string>> query;

    std::optional<std::string> parameter(std::string_view name) const
    {
        for (const auto& [key, value] : query) {
            if (key == name) {
                return value;
            }
        }
        return std::nullopt;
    }
};

int digit(char c)
{
    const auto u = static_cast<unsigned char>(c);
    return std::isdigit(u) != 0 ? u - '0' : std::isxdigit(u) != 0 ? std::tolower(u) - 'a' + 10 : -1;
}

std::string percent_decoded(std::string_view text)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
            out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
            i += 2;
        } else {
            out += text[i] == '+' ? ' ' : text[i];
        }
    }
    return out;
}

Target parse_target(std::string_view text)
{
    Target target;
    const auto question = text.find('?');
    target.path = text.substr(0, question);
    while (target.path.size() > 1 && target.path.ends_with('/')) {
        target.path.pop_back();
    }
    std::string_view rest = question == std::string_view::npos ? "" : text.substr(question + 1);
    while (!rest.empty()) {
        const auto end = rest.find('&');
        const std::string_view pair = rest.substr(0, end);
        const auto equals = pair.find('=');
        target.query.emplace_back(percent_decoded(pair.substr(0, equals)), equals == std::string_view::npos ? "" : percent_decoded(pair.substr(equals + 1)));
        rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    }
    return target;
}

bool is_true(const std::optional<std::string>& value) { return value && (*value == "true" || *value == "True" || *value == "1"); }

HttpResponse json_response(unsigned status, const Json& body) { return {.status = status, .body = dump_json(body)}; }

// IPA's form of an error, with the older faultcode and faultstring beside it.
HttpResponse error_response(unsigned status, const std::string& type, const std::string& message)
{
    return json_response(status, {
                                     {"type", type},
                                     {"code", status},
                                     {"message", message},
                                     {"details", message},
                                     {"faultcode", status < 500 ? "Client" : "Server"},
                                     {"faultstring", message},
                                 });
}

HttpResponse fault_response(const Fault& fault)
{
    const unsigned status = fault.kind == FaultKind::not_found ? 404 : fault.kind == FaultKind::busy ? 409 : fault.kind == FaultKind::invalid || fault.kind == FaultKind::malformed ? 400 : 500;
    return error_response(status, name_of(fault.kind), fault.message);
}

Json version_document()
{
    return {{"id", "v1"}, {"links", Json::array({{{"rel", "self"}, {"href", "/v1/"}}})}};
}

}  // namespace

CommandServer::CommandServer(CommandQueue& queue, std::function<Secret()> token, Log& log)
    : queue_(queue), token_(std::move(token)), log_(log), started_at_(now_as_text())
{
}

HttpService CommandServer::service()
{
    return {
        .body_limit = [this](const HttpRequest& head) { return is_authorised(head) ? most_body : small_body; },
        .answer = [this](const HttpRequest& request) { return answer(request); },
        .refuse =
            [this](const std::string& reason) {
                log_.warn("server.refused", {{"reason", reason}});
                return error_response(400, "malformed", reason);
            },
    };
}

bool CommandServer::is_authorised(const HttpRequest& request) const
{
    const auto given = parse_target(request.target).parameter("agent_token");
    return given && token_().equals(*given);
}

HttpResponse CommandServer::answer(const HttpRequest& request)
{
    try {
        const Target target = parse_target(request.target);
        const bool is_get = request.method == "GET";
        if (is_get && target.path == "/") {
            return json_response(200, {{"name", "ironrack agent"}, {"version", agent_version}, {"versions", Json::array({version_document()})}, {"default_version", version_document()}});
        }
        if (is_get && target.path == "/v1") {
            return json_response(200, version_document());
        }
        if (is_get && target.path == "/v1/status") {
            return json_response(200, {{"started_at", started_at_}, {"version", agent_version}});
        }
        if (target.path == commands_path) {
            if (is_get) {
                return json_response(200, {{"commands", queue_.list()}});
            }
            return request.method == "POST" ? post_command(request) : error_response(405, "invalid", "only GET and POST");
        }
        if (is_get && target.path.starts_with(std::string(commands_path) + "/")) {
            const std::string id = target.path.substr(commands_path.size() + 1);
            const auto found = queue_.find(id, is_true(target.parameter("wait")) ? longest_wait : std::chrono::seconds(0));
            return found ? json_response(200, *found) : fault_response(found.error());
        }
        return error_response(404, "not-found", "no such resource");
    } catch (const std::exception& error) {
        // A bug, or no memory left: the command fails, the agent goes on.
        log_.error("server.internal-fault", {{"reason", error.what()}});
        return error_response(500, "internal", "internal fault of the agent");
    }
}

HttpResponse CommandServer::post_command(const HttpRequest& request)
{
    if (!is_authorised(request)) {
        log_.warn("server.unauthorised");
        return error_response(401, "refused", "Token invalid.");
    }
    const auto body = parse_json(request.body);
    if (!body) {
        return fault_response(body.error());
    }
    if (!body->is_object()) {
        return error_response(400, "invalid", "a command is an object with 'name' and 'params'");
    }
    const auto name = text_field(*body, "name");
    const auto params = object_field(*body, "params");
    if (!name || !params) {
        return fault_response(name ? params.error() : name.error());
    }
    auto document = queue_.execute(*name, *params);
    if (document && is_true(parse_target(request.target).parameter("wait"))) {
        document = queue_.find((*document)["id"].get<std::string>(), longest_wait);
    }
    return document ? json_response(200, *document) : fault_response(document.error());
}

}  // namespace agent
