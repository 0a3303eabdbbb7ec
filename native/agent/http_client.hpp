// One HTTP request and its answer.
#pragma once

#include "fault.hpp"
#include "url.hpp"

#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

namespace agent {

struct HttpHeader {
    std::string name;
    std::string value;
};

struct HttpCall {
    std::string method;  // "GET", "POST"
    Url url;
    std::string target;  // path and query, from "/"
    std::vector<HttpHeader> headers;
    std::string body;
    bool verify_peer = true;  // https: against the system's certificates
};

struct HttpAnswer {
    unsigned status = 0;
    std::string body;
};

// Answers whatever status the server gave; faults are `unreachable` (no connection, no answer before the deadline),
// `malformed` (no HTTP, or a body above 16 MiB) and `cancelled`.
Result<HttpAnswer> call_http(const HttpCall& call, std::chrono::milliseconds deadline, const std::stop_token& stop);

}  // namespace agent
