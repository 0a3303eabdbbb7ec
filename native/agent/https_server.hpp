// An HTTPS server for a few clients: answers come from a function that may block.
#pragma once

#include "fault.hpp"
#include "log.hpp"
#include "tls_certificate.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace agent {

struct HttpRequest {
    std::string method;
    std::string target;  // path and query as they came
    std::string body;
};

struct HttpResponse {
    unsigned status = 200;
    std::string body;  // JSON
};

struct HttpService {
    // How many bytes of body a request may have, judged by its head.
    std::function<std::size_t(const HttpRequest& head)> body_limit;
    std::function<HttpResponse(const HttpRequest& request)> answer;
    // The answer to what is no request, or one above its limit: 400 with the reason.
    std::function<HttpResponse(const std::string& reason)> refuse;
};

class HttpsServer {
public:
    // Listens at once; answers until it is destroyed. A port of 0 lets the system choose. At most 32 connections; slow
    // ones are cut off.
    static Result<std::unique_ptr<HttpsServer>> start(const std::string& address, std::uint16_t port, const TlsCertificate& certificate, HttpService service,
                                                      Log& log);
    ~HttpsServer();

    std::uint16_t port() const;

    // Takes no new connection. Those that are open get their answers.
    void stop_accepting();

private:
    class Loop;
    explicit HttpsServer(std::unique_ptr<Loop> loop);
    std::unique_ptr<Loop> loop_;
};

}  // namespace agent
