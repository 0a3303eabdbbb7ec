#include "https_server.hpp"

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <thread>

namespace agent {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

constexpr int most_connections = 32;
constexpr std::uint32_t most_header_bytes = 16 * 1024;
constexpr std::chrono::seconds handshake_deadline(10);
constexpr std::chrono::seconds header_deadline(30);  // also how long an idle connection is kept
constexpr std::chrono::seconds body_deadline(180);
constexpr std::chrono::seconds answer_deadline(60);
constexpr std::chrono::seconds drain_deadline(2);
constexpr std::size_t most_drained_bytes = 1024 * 1024;

HttpRequest head_of(const http::request_header<>& header)
{
    return {.method = std::string(header.method_string()), .target = std::string(header.target()), .body = ""};
}

}  // namespace

class HttpsServer::Loop {
public:
    Loop(const TlsCertificate& certificate, HttpService service, Log& log)
        : tls_(asio::ssl::context::tls_server), acceptor_(context_), service_(std::move(service)), log_(log)
    {
        SSL_CTX_set_min_proto_version(tls_.native_handle(), TLS1_2_VERSION);
        tls_.use_certificate(asio::buffer(certificate.certificate), asio::ssl::context::pem);
        tls_.use_private_key(asio::buffer(certificate.key), asio::ssl::context::pem);
    }

    ~Loop()
    {
        context_.stop();
        if (thread_.joinable()) {
            thread_.join();
        }
        workers_.join();
    }

    Result<void> listen(const std::string& address, std::uint16_t port)
    {
        error_code error;
        const tcp::endpoint endpoint(asio::ip::make_address(address, error), port);
        const auto step = [&](const char* what) { return fail(FaultKind::internal, std::string(what) + " " + address + ":" + std::to_string(port) + ": " + error.message()); };
        if (error) {
            return step("no address");
        }
        acceptor_.open(endpoint.protocol(), error);
        if (error) {
            return step("opening");
        }
        acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
        acceptor_.bind(endpoint, error);
        if (error) {
            return step("binding");
        }
        acceptor_.listen(asio::socket_base::max_listen_connections, error);
        if (error) {
            return step("listening on");
        }
        port_ = acceptor_.local_endpoint().port();
        asio::co_spawn(context_, accept(), asio::detached);
        thread_ = std::thread([this] { context_.run(); });
        return {};
    }

    std::uint16_t port() const { return port_; }

    void stop_accepting()
    {
        asio::post(context_, [this] {
            error_code ignored;
            acceptor_.close(ignored);
        });
    }

private:
    asio::awaitable<void> accept()
    {
        while (acceptor_.is_open()) {
            error_code error;
            tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
            if (error == asio::error::operation_aborted) {
                co_return;
            }
            if (error) {
                // Out of descriptors, for one: a pause instead of a spin.
                asio::steady_timer pause(context_, std::chrono::milliseconds(200));
                co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
                continue;
            }
            if (connections_ >= most_connections) {
                log_.warn("server.too-many-connections", {{"limit", most_connections}});
                continue;
            }
            ++connections_;
            asio::co_spawn(context_, serve(std::move(socket)), [this](std::exception_ptr) { --connections_; });
        }
    }

    asio::awaitable<void> serve(tcp::socket socket)
    {
        TlsStream stream(beast::tcp_stream(std::move(socket)), tls_);
        beast::tcp_stream& lowest = beast::get_lowest_layer(stream);
        lowest.expires_after(handshake_deadline);
        co_await stream.async_handshake(asio::ssl::stream_base::server, asio::use_awaitable);

        beast::flat_buffer buffer;
        for (;;) {
            http::request_parser<http::string_body> parser;
            parser.header_limit(most_header_bytes);
            parser.body_limit(boost::none);
            error_code error;
            lowest.expires_after(header_deadline);
            co_await http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
            if (!error) {
                const HttpRequest head = head_of(parser.get().base());
                parser.body_limit(service_.body_limit(head));
                const auto announced = parser.content_length();
                if (announced && *announced > service_.body_limit(head)) {
                    error = http::error::body_limit;
                }
            }
            if (!error) {
                lowest.expires_after(body_deadline);
                co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
            }
            if (error) {
                // A peer that hung up or timed out gets nothing; one that broke the rules is told, and its connection ends.
                if (error.category() == http::make_error_code(http::error::bad_version).category() && error != http::error::end_of_stream &&
                    error != http::error::partial_message) {
                    co_await send(stream, service_.refuse(error.message()), false);
                    co_await drain(stream);
                }
                break;
            }
            const bool keep_alive = parser.get().keep_alive();
            HttpRequest request = head_of(parser.get().base());
            request.body = std::move(parser.get().body());
            parser.get().body() = {};
            // The answer may wait for a command or a disk: not on the thread that moves all connections.
            lowest.expires_never();
            auto job = [this, request = std::move(request)]() -> asio::awaitable<HttpResponse> { co_return service_.answer(request); };
            HttpResponse response = co_await asio::co_spawn(workers_, std::move(job), asio::use_awaitable);
            co_await send(stream, std::move(response), keep_alive);
            if (!keep_alive) {
                break;
            }
        }
        lowest.expires_after(handshake_deadline);
        error_code ignored;
        co_await stream.async_shutdown(asio::redirect_error(asio::use_awaitable, ignored));
    }

    // Closing while a refused request still comes in resets the connection, and the answer is lost with it.
    asio::awaitable<void> drain(TlsStream& stream)
    {
        std::array<char, 16384> block;
        beast::get_lowest_layer(stream).expires_after(drain_deadline);
        error_code error;
        for (std::size_t drained = 0; !error && drained < most_drained_bytes;) {
            drained += co_await stream.async_read_some(asio::buffer(block), asio::redirect_error(asio::use_awaitable, error));
        }
    }

    asio::awaitable<void> send(TlsStream& stream, HttpResponse response, bool keep_alive)
    {
        http::response<http::string_body> message(static_cast<http::status>(response.status), 11);
        message.set(http::field::content_type, "application/json");
        message.set(http::field::server, "ironrack-agent");
        message.keep_alive(keep_alive);
        message.body() = std::move(response.body);
        message.prepare_payload();
        beast::get_lowest_layer(stream).expires_after(answer_deadline);
        co_await http::async_write(stream, message, asio::use_awaitable);
    }

    asio::io_context context_{1};
    asio::ssl::context tls_;
    tcp::acceptor acceptor_;
    HttpService service_;
    Log& log_;
    int connections_ = 0;
    std::atomic<std::uint16_t> port_ = 0;
    asio::thread_pool workers_{most_connections};
    std::thread thread_;
};

HttpsServer::HttpsServer(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}

HttpsServer::~HttpsServer() = default;

Result<std::unique_ptr<HttpsServer>> HttpsServer::start(const std::string& address, std::uint16_t port, const TlsCertificate& certificate, HttpService service,
                                                        Log& log)
{
    std::unique_ptr<Loop> loop;
    try {
        loop = std::make_unique<Loop>(certificate, std::move(service), log);
    } catch (const boost::system::system_error& error) {
        return fail(FaultKind::internal, std::string("setting up TLS: ") + error.what());
    }
    if (auto listening = loop->listen(address, port); !listening) {
        return std::unexpected(listening.error());
    }
    return std::unique_ptr<HttpsServer>(new HttpsServer(std::move(loop)));
}

std::uint16_t HttpsServer::port() const { return loop_->port(); }

void HttpsServer::stop_accepting() { loop_->stop_accepting(); }

}  // namespace agent
