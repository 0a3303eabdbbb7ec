#include "http_client.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>

namespace agent {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using boost::system::system_error;

constexpr std::uint64_t most_body = 16 * 1024 * 1024;

http::request<http::string_body> request_for(const HttpCall& call)
{
    http::request<http::string_body> request(http::string_to_verb(call.method), call.target, 11);
    request.set(http::field::host, call.url.authority());
    request.set(http::field::connection, "close");
    for (const HttpHeader& header : call.headers) {
        request.set(header.name, header.value);
    }
    request.body() = call.body;
    request.prepare_payload();
    return request;
}

template <class Stream> asio::awaitable<HttpAnswer> exchange(Stream& stream, const HttpCall& call)
{
    const auto request = request_for(call);
    co_await http::async_write(stream, request, asio::use_awaitable);
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(most_body);
    co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
    co_return HttpAnswer{.status = parser.get().result_int(), .body = std::move(parser.get().body())};
}

asio::awaitable<HttpAnswer> run_call(const HttpCall& call, asio::io_context& context)
{
    const asio::ip::tcp::endpoint peer(asio::ip::make_address(call.url.host), call.url.port);
    if (!call.url.is_https) {
        beast::tcp_stream stream(context);
        co_await stream.async_connect(peer, asio::use_awaitable);
        co_return co_await exchange(stream, call);
    }
    asio::ssl::context tls(asio::ssl::context::tls_client);
    SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_2_VERSION);
    if (call.verify_peer) {
        tls.set_default_verify_paths();
        tls.set_verify_mode(asio::ssl::verify_peer);
        tls.set_verify_callback(asio::ssl::host_name_verification(call.url.host));
    }
    beast::ssl_stream<beast::tcp_stream> stream(context, tls);
    co_await beast::get_lowest_layer(stream).async_connect(peer, asio::use_awaitable);
    co_await stream.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
    co_return co_await exchange(stream, call);
}

}  // namespace

Result<HttpAnswer> call_http(const HttpCall& call, std::chrono::milliseconds deadline, const std::stop_token& stop)
{
    asio::io_context context(1);
    std::optional<Result<HttpAnswer>> outcome;
    asio::co_spawn(context, run_call(call, context), [&](std::exception_ptr error, HttpAnswer answer) {
        if (!error) {
            outcome = std::move(answer);
            return;
        }
        try {
            std::rethrow_exception(error);
        } catch (const system_error& caught) {
            const bool is_http = caught.code().category() == http::make_error_code(http::error::bad_version).category();
            outcome = fail(is_http ? FaultKind::malformed : FaultKind::unreachable, call.url.authority() + ": " + caught.code().message());
        } catch (const std::exception& caught) {
            outcome = fail(FaultKind::internal, caught.what());
        }
    });
    const std::stop_callback on_stop(stop, [&] { context.stop(); });
    context.run_for(deadline);
    if (outcome) {
        return *outcome;
    }
    return stop.stop_requested() ? fail(FaultKind::cancelled, "cancelled")
                                 : fail(FaultKind::unreachable, call.url.authority() + ": no answer within " + std::to_string(deadline.count()) + " ms");
}

}  // namespace agent
