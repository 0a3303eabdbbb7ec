// A user-space iSCSI target for tests and benchmarks: drops data at no cost or keeps it in files, and errs on request.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdio>
#include <thread>

#include "test/target/connection.hpp"

int main(int argc, char** argv) {
  target::Shared shared;
  shared.options = target::parse_options(argc, argv);
  shared.not_ready = shared.options.not_ready;
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(shared.options.port);
  ::inet_pton(AF_INET, shared.options.address.c_str(), &address.sin_addr);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 64) != 0) {
    std::perror("test target");
    return 1;
  }
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%u\n", ntohs(address.sin_port));  // whoever starts us reads the port from here
  std::fflush(stdout);
  while (true) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([fd, &shared] { target::Connection(fd, shared).serve(); }).detach();
  }
}
