// TFTP clients that cost as little as possible, so that a bench measures the server:
//   tftp-client SERVER FILE BLKSIZE WINDOW CLIENTS REFERENCE
// Each client gets FILE once, all at the same time in one thread; what arrives is held against REFERENCE, the first bytes of
// each block and the size. Prints {"seconds":…,"bytes":…,"repeated":…,"window":…}; `window` is the one that the server took.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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

struct Reference {
  const std::uint8_t* bytes;
  std::uint64_t size;
};

struct Client {
  int socket = -1;
  bool connected = false;
  bool done = false;
  std::uint32_t window = 1;
  std::uint64_t got = 0;  // blocks
  std::uint32_t since_ack = 0;
};

constexpr int kBatch = 64;
std::vector<std::uint8_t> buffers;
std::uint32_t blksize, asked_window, took_window = 1;
std::uint64_t repeated = 0;
Reference reference;
std::string request;

void send_ack(Client& client) {
  const std::uint8_t packet[4] = {0, 4, static_cast<std::uint8_t>(client.got >> 8), static_cast<std::uint8_t>(client.got)};
  if (::send(client.socket, packet, sizeof packet, 0) < 0) die("send");
  client.since_ack = 0;
}

void take_oack(Client& client, const char* at, const char* end) {
  while (at < end) {
    const char* value = at + std::strlen(at) + 1;
    if (strcasecmp(at, "windowsize") == 0) client.window = took_window = static_cast<std::uint32_t>(std::atoi(value));
    at = value + std::strlen(value) + 1;
  }
  send_ack(client);
}

void take_data(Client& client, const std::uint8_t* packet, std::size_t length) {
  const auto wire = static_cast<std::uint16_t>(packet[2] << 8 | packet[3]);
  const std::uint64_t offset = client.got * blksize;
  const std::size_t size = length - 4;
  if (wire != static_cast<std::uint16_t>(client.got + 1)) {
    // A gap, or one again: say once what is there.
    repeated++;
    if (client.since_ack != 0 || client.window == 1) send_ack(client);
    return;
  }
  if (offset + size > reference.size || (size >= 8 && std::memcmp(packet + 4, reference.bytes + offset, 8) != 0)) {
    std::fprintf(stderr, "block %llu is not what the file holds\n", static_cast<unsigned long long>(client.got + 1));
    std::exit(1);
  }
  client.got++;
  client.since_ack++;
  client.done = size < blksize;
  if (client.done && offset + size != reference.size) {
    std::fprintf(stderr, "the file ends early\n");
    std::exit(1);
  }
  if (client.done || client.since_ack >= client.window) send_ack(client);
}

void take(Client& client, const std::uint8_t* packet, std::size_t length) {
  switch (length < 4 ? 0 : packet[1]) {
    case 3: return take_data(client, packet, length);
    case 6: return take_oack(client, reinterpret_cast<const char*>(packet) + 2, reinterpret_cast<const char*>(packet) + length);
    default:
      std::fprintf(stderr, "the server says %d: %.*s\n", packet[1], static_cast<int>(length) - 4, packet + 4);
      std::exit(1);
  }
}

void receive_first(Client& client) {
  sockaddr_in from{};
  socklen_t size = sizeof from;
  const auto length = ::recvfrom(client.socket, buffers.data(), blksize + 4, 0, reinterpret_cast<sockaddr*>(&from), &size);
  if (length < 0) die("recvfrom");
  if (::connect(client.socket, reinterpret_cast<sockaddr*>(&from), size) != 0) die("connect");
  client.connected = true;
  take(client, buffers.data(), static_cast<std::size_t>(length));
}

void receive(Client& client) {
  if (client.window == 1) {
    const auto length = ::recv(client.socket, buffers.data(), blksize + 4, MSG_DONTWAIT);
    if (length >= 0) take(client, buffers.data(), static_cast<std::size_t>(length));
    return;
  }
  static mmsghdr messages[kBatch];
  static iovec parts[kBatch];
  for (int i = 0; i < kBatch; i++) {
    parts[i] = {buffers.data() + static_cast<std::size_t>(i) * (blksize + 4), blksize + 4};
    messages[i].msg_hdr = {};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int count = ::recvmmsg(client.socket, messages, kBatch, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < count && !client.done; i++) take(client, buffers.data() + static_cast<std::size_t>(i) * (blksize + 4), messages[i].msg_len);
}

void append(std::string& to, const std::string& word) { to.append(word).push_back('\0'); }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: tftp-client SERVER FILE BLKSIZE WINDOW CLIENTS REFERENCE\n");
    return 2;
  }
  blksize = static_cast<std::uint32_t>(std::atoi(argv[3]));
  asked_window = static_cast<std::uint32_t>(std::atoi(argv[4]));
  const int fd = ::open(argv[6], O_RDONLY);
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) die(argv[6]);
  reference = {static_cast<const std::uint8_t*>(::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0)), static_cast<std::uint64_t>(status.st_size)};
  buffers.resize(static_cast<std::size_t>(kBatch) * (blksize + 4));
  request = std::string("\0\1", 2);
  append(request, argv[2]);
  append(request, "octet");
  append(request, "blksize");
  append(request, std::to_string(blksize));
  if (asked_window > 1) {
    append(request, "windowsize");
    append(request, std::to_string(asked_window));
  }
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(69);
  if (::inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) die(argv[1]);

  std::vector<Client> clients(static_cast<std::size_t>(std::atoi(argv[5])));
  const int epoll = ::epoll_create1(0);
  const auto started = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < clients.size(); i++) {
    clients[i].socket = ::socket(AF_INET, SOCK_DGRAM, 0);
    const int room = 1 << 20;
    ::setsockopt(clients[i].socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    epoll_event event{EPOLLIN, {.u64 = i}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].socket, &event);
    if (::sendto(clients[i].socket, request.data(), request.size(), 0, reinterpret_cast<sockaddr*>(&server), sizeof server) < 0) die("sendto");
  }
  std::size_t left = clients.size();
  int silent = 0;
  std::vector<epoll_event> events(64);
  while (left > 0) {
    const int ready = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 1000);
    if (ready == 0) {
      if (++silent == 10) {
        std::fprintf(stderr, "the server is silent\n");
        return 1;
      }
      repeated++;
      for (auto& client : clients) {
        if (client.done) continue;
        if (client.connected) send_ack(client);
        else if (::sendto(client.socket, request.data(), request.size(), 0, reinterpret_cast<sockaddr*>(&server), sizeof server) < 0) die("sendto");
      }
      continue;
    }
    silent = 0;
    for (int i = 0; i < ready; i++) {
      auto& client = clients[events[static_cast<std::size_t>(i)].data.u64];
      if (client.done) continue;
      if (client.connected) receive(client);
      else receive_first(client);
      if (!client.done) continue;
      left--;
      ::epoll_ctl(epoll, EPOLL_CTL_DEL, client.socket, nullptr);
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  std::printf("{\"seconds\":%.6f,\"bytes\":%llu,\"repeated\":%llu,\"window\":%u}\n", seconds, static_cast<unsigned long long>(reference.size * clients.size()), static_cast<unsigned long long>(repeated), took_window);
}
