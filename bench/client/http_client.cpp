// HTTP/1.1 clients that cost as little as possible, so that a bench measures the server:
//   http-client SERVER PORT PATH CONNECTIONS REQUESTS
// Each connection asks for PATH so many times, one after another, and drops the bodies in the kernel. Prints
// {"seconds":…,"bytes":…}; anything but 200 with a Content-Length, or a body of another length, ends it with status 1.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Connection {
  int socket = -1;
  int requests = 0;
  std::string head;
  std::uint64_t left = 0;  // of the body
};

std::string request;
std::uint64_t total = 0;
constexpr std::size_t kPiece = 4u << 20;
std::vector<char> buffer(65536);

void ask(Connection& connection) {
  connection.requests--;
  connection.head.clear();
  if (::send(connection.socket, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) die("send");
}

/// Reads what has come; false when the connection's last answer is complete.
bool receive(Connection& connection) {
  if (connection.left > 0) {
    const auto got = ::recv(connection.socket, nullptr, std::min<std::uint64_t>(connection.left, kPiece), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) die("recv");
    connection.left -= static_cast<std::uint64_t>(got);
    total += static_cast<std::uint64_t>(got);
    if (connection.left > 0) return true;
    if (connection.requests == 0) return false;
    ask(connection);
    return true;
  }
  const auto got = ::recv(connection.socket, buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_PEEK);
  if (got < 0 && errno == EAGAIN) return true;
  if (got <= 0) die("recv");
  connection.head.assign(buffer.data(), static_cast<std::size_t>(got));
  const auto end = connection.head.find("\r\n\r\n");
  if (end == std::string::npos) return true;
  const auto length = strcasestr(connection.head.c_str(), "\r\ncontent-length:");
  if (connection.head.compare(0, 12, "HTTP/1.1 200") != 0 || length == nullptr) {
    std::fprintf(stderr, "the server says: %.*s\n", static_cast<int>(end), connection.head.c_str());
    std::exit(1);
  }
  connection.left = std::strtoull(length + 17, nullptr, 10);
  if (::recv(connection.socket, buffer.data(), end + 4, 0) < 0) die("recv");
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: http-client SERVER PORT PATH CONNECTIONS REQUESTS\n");
    return 2;
  }
  request = std::string("GET ") + argv[3] + " HTTP/1.1\r\nHost: " + argv[1] + "\r\n\r\n";
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  if (::inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) die(argv[1]);
  std::vector<Connection> connections(static_cast<std::size_t>(std::atoi(argv[4])));
  const int epoll = ::epoll_create1(0);
  const auto started = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < connections.size(); i++) {
    connections[i].socket = ::socket(AF_INET, SOCK_STREAM, 0);
    connections[i].requests = std::atoi(argv[5]);
    if (::connect(connections[i].socket, reinterpret_cast<sockaddr*>(&server), sizeof server) != 0) die("connect");
    epoll_event event{EPOLLIN, {.u64 = i}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].socket, &event);
    ask(connections[i]);
  }
  std::size_t left = connections.size();
  std::array<epoll_event, 64> events;
  while (left > 0) {
    const int ready = ::epoll_wait(epoll, events.data(), events.size(), 30'000);
    if (ready <= 0) {
      std::fprintf(stderr, "the server is silent\n");
      return 1;
    }
    for (int i = 0; i < ready; i++) {
      auto& connection = connections[events[static_cast<std::size_t>(i)].data.u64];
      if (receive(connection)) continue;
      ::epoll_ctl(epoll, EPOLL_CTL_DEL, connection.socket, nullptr);
      left--;
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  std::printf("{\"seconds\":%.6f,\"bytes\":%llu}\n", seconds, static_cast<unsigned long long>(total));
}
