// Machines that all boot at once, as their firmware and iPXE would:
//   storm-client INTERFACE SERVER HTTP-PORT MACHINES LOADER-BYTES KERNEL-BYTES INITRD-BYTES
// Each: DHCP as a BIOS's PXE → its boot file by TFTP (blksize 1468, no window: what PXE ROMs ask for) → DHCP as iPXE → the script
// → kernel and initrd by HTTP, each from the address that it was given, which the interface has to have. Prints
// {"seconds":…,"dhcp_repeated":…,"tftp_repeated":…,"phases":{…}}, the phases as seconds until the last machine was through.
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}
[[noreturn]] void wrong(const char* what, std::size_t machine) {
  std::fprintf(stderr, "machine %zu: %s\n", machine, what);
  std::exit(1);
}

enum class Phase { discover, request, loader, discover_ipxe, request_ipxe, script, kernel, initrd, done };

struct Machine {
  Phase phase = Phase::discover;
  Clock::time_point patience;
  int socket = -1;
  std::uint32_t address = 0;  // in network order
  std::uint32_t server_id = 0;
  std::string boot_file;
  // of TFTP
  bool connected = false;
  std::uint64_t blocks = 0, bytes = 0;
  // of HTTP
  bool head_done = false;
  std::uint64_t left = 0;
};

constexpr std::uint32_t kBlksize = 1468;
std::vector<Machine> machines;
std::array<std::uint64_t, 3> sizes;  // loader, kernel, initrd
std::array<double, 4> through{};     // loader, script, kernel, initrd
sockaddr_in server{};
std::uint16_t http_port;
int epoll_fd, dhcp_socket;
std::size_t left_to_boot;
std::uint64_t dhcp_repeated = 0, tftp_repeated = 0;
Clock::time_point started, now;
std::vector<std::uint8_t> buffer(65536);

void note(int which) { through[static_cast<std::size_t>(which)] = std::chrono::duration<double>(Clock::now() - started).count(); }

bool asks_dhcp(Phase phase) { return phase == Phase::discover || phase == Phase::request || phase == Phase::discover_ipxe || phase == Phase::request_ipxe; }

// --- DHCP -----------------------------------------------------------------------------------------------------------

void option(std::vector<std::uint8_t>& to, std::uint8_t code, const void* bytes, std::size_t length) {
  to.push_back(code);
  to.push_back(static_cast<std::uint8_t>(length));
  const auto* from = static_cast<const std::uint8_t*>(bytes);
  to.insert(to.end(), from, from + length);
}

void send_dhcp(std::size_t at) {
  auto& machine = machines[at];
  const bool ipxe = machine.phase == Phase::discover_ipxe || machine.phase == Phase::request_ipxe;
  const bool request = machine.phase == Phase::request || machine.phase == Phase::request_ipxe;
  std::vector<std::uint8_t> packet(236);
  packet[0] = 1;
  packet[1] = 1;
  packet[2] = 6;
  const std::uint32_t xid = htonl(0x57000000u | static_cast<std::uint32_t>(at) << 1 | (ipxe ? 1 : 0));
  std::memcpy(&packet[4], &xid, 4);
  packet[10] = 0x80;  // answers as broadcasts
  const std::uint8_t mac[6] = {0x52, 0x54, 0, 0x99, static_cast<std::uint8_t>(at >> 8), static_cast<std::uint8_t>(at)};
  std::memcpy(&packet[28], mac, 6);
  packet.insert(packet.end(), {0x63, 0x82, 0x53, 0x63});
  const std::uint8_t type = request ? 3 : 1;
  option(packet, 53, &type, 1);
  if (request) {
    option(packet, 50, &machine.address, 4);
    option(packet, 54, &machine.server_id, 4);
  }
  option(packet, 60, "PXEClient:Arch:00000:UNDI:002001", 32);
  option(packet, 93, "\0\0", 2);
  option(packet, 94, "\1\2\1", 3);
  option(packet, 97, "\0ironrack-storm-1", 17);
  option(packet, 55, "\1\3\6\x42\x43\x36\xaf", 7);
  if (ipxe) {
    option(packet, 77, "iPXE", 4);
    option(packet, 175, "\x13\1\1\x15\1\1", 6);  // HTTP, and that it is iPXE of today
  }
  packet.push_back(255);
  packet.resize(std::max<std::size_t>(packet.size(), 300));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(67);
  to.sin_addr.s_addr = INADDR_BROADCAST;
  if (::sendto(dhcp_socket, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) die("sendto");
  machine.patience = now + std::chrono::seconds(1);
}

int watched_socket(std::size_t at, int kind) {
  auto& machine = machines[at];
  machine.socket = ::socket(AF_INET, kind | SOCK_CLOEXEC, 0);
  const int room = 1 << 20;
  if (kind == SOCK_DGRAM) ::setsockopt(machine.socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = machine.address;
  if (::bind(machine.socket, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) die("bind to the address that was given");
  epoll_event event{EPOLLIN, {.u64 = at}};
  ::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, machine.socket, &event);
  return machine.socket;
}

void unwatch(Machine& machine) {
  ::close(machine.socket);
  machine.socket = -1;
}

// --- TFTP -----------------------------------------------------------------------------------------------------------

void send_rrq(std::size_t at) {
  auto& machine = machines[at];
  std::string packet("\0\1", 2);
  for (const auto& word : {machine.boot_file, std::string("octet"), std::string("tsize"), std::string("0"), std::string("blksize"), std::to_string(kBlksize)}) packet.append(word).push_back('\0');
  sockaddr_in to = server;
  to.sin_port = htons(69);
  if (::sendto(machine.socket, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) die("sendto");
  machine.patience = now + std::chrono::seconds(1);
}

void send_ack(Machine& machine) {
  const std::uint8_t packet[4] = {0, 4, static_cast<std::uint8_t>(machine.blocks >> 8), static_cast<std::uint8_t>(machine.blocks)};
  ::send(machine.socket, packet, sizeof packet, 0);
  machine.patience = now + std::chrono::seconds(1);
}

void begin_ipxe(std::size_t at) {
  auto& machine = machines[at];
  unwatch(machine);
  note(0);
  machine.phase = Phase::discover_ipxe;
  send_dhcp(at);
}

void receive_tftp(std::size_t at) {
  auto& machine = machines[at];
  sockaddr_in from{};
  socklen_t size = sizeof from;
  const auto length = ::recvfrom(machine.socket, buffer.data(), kBlksize + 4, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &size);
  if (length < 4) return;
  if (!machine.connected) {
    if (::connect(machine.socket, reinterpret_cast<sockaddr*>(&from), size) != 0) die("connect");
    machine.connected = true;
  }
  if (buffer[1] == 6) return send_ack(machine);
  if (buffer[1] != 3) wrong("TFTP error", at);
  if (static_cast<std::uint16_t>(buffer[2] << 8 | buffer[3]) != static_cast<std::uint16_t>(machine.blocks + 1)) {
    tftp_repeated++;
    return;
  }
  machine.blocks++;
  machine.bytes += static_cast<std::uint64_t>(length) - 4;
  send_ack(machine);
  if (length - 4 == kBlksize) return;
  if (machine.bytes != sizes[0]) wrong("the loader has another length", at);
  begin_ipxe(at);
}

// --- HTTP -----------------------------------------------------------------------------------------------------------

void get(std::size_t at, Phase phase, const std::string& path) {
  auto& machine = machines[at];
  machine.phase = phase;
  machine.head_done = false;
  machine.patience = now + std::chrono::seconds(60);
  sockaddr_in to = server;
  to.sin_port = htons(http_port);
  if (::connect(watched_socket(at, SOCK_STREAM), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) die("connect");
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: boot\r\nUser-Agent: iPXE/1.21.1\r\nConnection: keep-alive\r\n\r\n";
  if (::send(machine.socket, request.data(), request.size(), MSG_NOSIGNAL) < 0) die("send");
}

void got_file(std::size_t at) {
  auto& machine = machines[at];
  unwatch(machine);
  switch (machine.phase) {
    case Phase::script: note(1); return get(at, Phase::kernel, "/ramdisk/kernel");
    case Phase::kernel: note(2); return get(at, Phase::initrd, "/ramdisk/initrd");
    default: break;
  }
  note(3);
  machine.phase = Phase::done;
  left_to_boot--;
}

void receive_http(std::size_t at) {
  auto& machine = machines[at];
  if (!machine.head_done) {
    const auto got = ::recv(machine.socket, buffer.data(), buffer.size() - 1, MSG_DONTWAIT | MSG_PEEK);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) wrong("the HTTP connection ended", at);
    buffer[static_cast<std::size_t>(got)] = 0;
    const std::string head(reinterpret_cast<char*>(buffer.data()));
    const auto end = head.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const char* length = strcasestr(head.c_str(), "\r\ncontent-length:");
    if (head.compare(0, 12, "HTTP/1.1 200") != 0 || length == nullptr) wrong("an HTTP answer that is not 200", at);
    machine.left = std::strtoull(length + 17, nullptr, 10);
    if ((machine.phase == Phase::kernel && machine.left != sizes[1]) || (machine.phase == Phase::initrd && machine.left != sizes[2])) wrong("a file of another length", at);
    machine.head_done = true;
    ::recv(machine.socket, buffer.data(), end + 4, 0);
  }
  while (machine.left > 0) {
    const auto got = ::recv(machine.socket, nullptr, std::min<std::uint64_t>(machine.left, 1u << 20), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) wrong("the HTTP connection ended", at);
    machine.left -= static_cast<std::uint64_t>(got);
    if (machine.left > 0) return;
  }
  got_file(at);
}

// --- the walk ---------------------------------------------------------------------------------------------------------

void receive_dhcp() {
  for (;;) {
    const auto length = ::recv(dhcp_socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (length < 0) return;
    if (length < 244 || buffer[0] != 2) continue;
    std::uint32_t xid;
    std::memcpy(&xid, &buffer[4], 4);
    xid = ntohl(xid) & 0xffffff;
    const std::size_t at = xid >> 1;
    if (at >= machines.size()) continue;
    auto& machine = machines[at];
    const bool ipxe = (xid & 1) != 0;
    std::uint8_t type = 0;
    std::uint32_t server_id = 0;
    std::string file(reinterpret_cast<char*>(&buffer[108]), strnlen(reinterpret_cast<char*>(&buffer[108]), 128));
    for (std::size_t i = 240; i + 1 < static_cast<std::size_t>(length) && buffer[i] != 255;) {
      if (buffer[i] == 0) {
        i++;
        continue;
      }
      const std::size_t size = buffer[i + 1];
      if (buffer[i] == 53) type = buffer[i + 2];
      if (buffer[i] == 54) std::memcpy(&server_id, &buffer[i + 2], 4);
      if (buffer[i] == 67) file.assign(reinterpret_cast<char*>(&buffer[i + 2]), strnlen(reinterpret_cast<char*>(&buffer[i + 2]), size));
      i += 2 + size;
    }
    if (type == 2 && machine.phase == (ipxe ? Phase::discover_ipxe : Phase::discover)) {
      std::memcpy(&machine.address, &buffer[16], 4);
      machine.server_id = server_id;
      machine.phase = ipxe ? Phase::request_ipxe : Phase::request;
      send_dhcp(at);
    } else if (type == 5 && machine.phase == (ipxe ? Phase::request_ipxe : Phase::request)) {
      if (file.empty()) wrong("no boot file", at);
      machine.boot_file = file;
      if (!ipxe) {
        machine.phase = Phase::loader;
        watched_socket(at, SOCK_DGRAM);
        send_rrq(at);
        continue;
      }
      const auto path = file.find('/', file.find("//") + 2);
      if (file.compare(0, 7, "http://") != 0 || path == std::string::npos) wrong("iPXE is given no script by HTTP", at);
      get(at, Phase::script, file.substr(path));
    } else if (type == 6) {
      wrong("NAK", at);
    }
  }
}

void repeat(std::size_t at) {
  auto& machine = machines[at];
  if (asks_dhcp(machine.phase)) {
    dhcp_repeated++;
    send_dhcp(at);
  } else if (machine.phase == Phase::loader) {
    tftp_repeated++;
    if (machine.connected) send_ack(machine);
    else send_rrq(at);
  } else {
    wrong("an HTTP answer does not come", at);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr, "usage: storm-client INTERFACE SERVER HTTP-PORT MACHINES LOADER-BYTES KERNEL-BYTES INITRD-BYTES\n");
    return 2;
  }
  server.sin_family = AF_INET;
  if (::inet_pton(AF_INET, argv[2], &server.sin_addr) != 1) die(argv[2]);
  http_port = static_cast<std::uint16_t>(std::atoi(argv[3]));
  machines.resize(static_cast<std::size_t>(std::atoi(argv[4])));
  for (int i = 0; i < 3; i++) sizes[static_cast<std::size_t>(i)] = std::strtoull(argv[5 + i], nullptr, 10);
  left_to_boot = machines.size();
  epoll_fd = ::epoll_create1(EPOLL_CLOEXEC);
  dhcp_socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int on = 1, room = 4 << 20;
  ::setsockopt(dhcp_socket, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  ::setsockopt(dhcp_socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  if (::setsockopt(dhcp_socket, SOL_SOCKET, SO_BINDTODEVICE, argv[1], static_cast<socklen_t>(std::strlen(argv[1]))) != 0) die("SO_BINDTODEVICE");
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_port = htons(68);
  if (::bind(dhcp_socket, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) die("bind to port 68");
  epoll_event event{EPOLLIN, {.u64 = UINT64_MAX}};
  ::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, dhcp_socket, &event);

  started = now = Clock::now();
  for (std::size_t at = 0; at < machines.size(); at++) send_dhcp(at);
  std::array<epoll_event, 64> events;
  while (left_to_boot > 0) {
    const int ready = ::epoll_wait(epoll_fd, events.data(), events.size(), 100);
    now = Clock::now();
    if (now - started > std::chrono::seconds(110)) wrong("the storm does not end", left_to_boot);
    for (int i = 0; i < ready; i++) {
      const auto at = events[static_cast<std::size_t>(i)].data.u64;
      if (at == UINT64_MAX) {
        receive_dhcp();
        continue;
      }
      auto& machine = machines[at];
      if (machine.socket < 0) continue;
      if (machine.phase == Phase::loader) receive_tftp(at);
      else receive_http(at);
    }
    for (std::size_t at = 0; at < machines.size(); at++) {
      if (machines[at].phase != Phase::done && now >= machines[at].patience) repeat(at);
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  std::printf("{\"seconds\":%.4f,\"dhcp_repeated\":%llu,\"tftp_repeated\":%llu,\"phases\":{\"loader\":%.4f,\"script\":%.4f,\"kernel\":%.4f,\"initrd\":%.4f}}\n", seconds, static_cast<unsigned long long>(dhcp_repeated), static_cast<unsigned long long>(tftp_repeated), through[0], through[1], through[2], through[3]);
}
