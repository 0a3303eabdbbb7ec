// The agent's command API: Ironic's routes on the HTTPS server.
#pragma once

#include "command_queue.hpp"
#include "https_server.hpp"
#include "secret.hpp"

#include <functional>
#include <string>

namespace agent {

class CommandServer {
public:
    // `token` answers the token that counts at this moment: a new lookup may have changed it.
    CommandServer(CommandQueue& queue, std::function<Secret()> token, Log& log);

    HttpService service();

    // One request to its answer; never throws. Public for tests, which need no socket to try a thousand bodies.
    HttpResponse answer(const HttpRequest& request);

private:
    HttpResponse post_command(const HttpRequest& request);
    bool is_authorised(const HttpRequest& request) const;

    CommandQueue& queue_;
    const std::function<Secret()> token_;
    Log& log_;
    const std::string started_at_;
};

extern const char* const agent_version;

}  // namespace agent
