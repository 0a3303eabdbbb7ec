// The appliance's API as the agent uses it: inspection callback, lookup, heartbeat.
#pragma once

#include "fault.hpp"
#include "http_client.hpp"
#include "json_reader.hpp"
#include "log.hpp"
#include "secret.hpp"
#include "url.hpp"

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace agent {

struct LookupAnswer {
    std::string node_uuid;
    std::chrono::seconds heartbeat_timeout{300};
    std::optional<Secret> token;  // absent if the appliance handed it out before and shows only asterisks
};

struct Heartbeat {
    std::string node_uuid;
    std::string callback_url;
    std::string agent_version;
    Secret token;
    std::string certificate;  // PEM
};

class ApiClient {
public:
    ApiClient(Url api, bool verify_peer, Log& log) : api_(std::move(api)), verify_peer_(verify_peer), log_(log) {}

    const Url& url() const { return api_; }

    // Faults: `not_found` (404: the appliance does not wait for this machine now), `busy` (409), `refused` (another
    // 4xx), `unreachable` (no answer or 5xx), `malformed`. `node_uuid` may be empty.
    Result<LookupAnswer> lookup(const std::vector<std::string>& addresses, const std::string& node_uuid, const std::stop_token& stop);
    Result<void> heartbeat(const Heartbeat& beat, const std::stop_token& stop);
    Result<void> continue_inspection(const Url& callback, const Json& inspection, const std::stop_token& stop);

private:
    Result<HttpAnswer> call(const Url& url, const std::string& method, const std::string& path, const std::string& body, const std::stop_token& stop);

    // 1.68, the first that knows agent_verify_ca, or the server's newest if that is older; asked once.
    std::string version(const std::stop_token& stop);

    const Url api_;
    const bool verify_peer_;
    Log& log_;
    std::optional<std::string> version_;
};

// The answer to a lookup, read.
Result<LookupAnswer> parse_lookup(const std::string& body);

// "1.68" or the newest version that an API root document names, if that is lower.
std::string choose_version(const std::string& root_document);

}  // namespace agent
