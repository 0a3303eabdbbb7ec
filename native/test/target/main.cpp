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
  const bool six = shared.options.address.find(':') != std::string::npos;
  const int listener = ::socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage address{};
  auto& four_address = reinterpret_cast<sockaddr_in&>(address);
  auto& six_address = reinterpret_cast<sockaddr_in6&>(address);
  address.ss_family = six ? AF_INET6 : AF_INET;
  (six ? six_address.sin6_port : four_address.sin_port) = htons(shared.options.port);
  if (six) ::inet_pton(AF_INET6, shared.options.address.c_str(), &six_address.sin6_addr);
  else ::inet_pton(AF_INET, shared.options.address.c_str(), &four_address.sin_addr);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 64) != 0) {
    std::perror("test target");
    return 1;
  }
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%u\n", ntohs(six ? six_address.sin6_port : four_address.sin_port));  // whoever starts us reads the port from here
  std::fflush(stdout);
  while (true) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([fd, &shared] { target::Connection(fd, shared).serve(); }).detach();
  }
}
