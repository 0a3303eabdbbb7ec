#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "iscsi/page_pipe.hpp"
#include "test/check.hpp"

using namespace ironrack;

RULE("pages of a file reach a socket that takes less than it is given, in order and once") {
  constexpr std::size_t kBytes = (3 << 20) + 777;
  const UniqueFd file(::memfd_create("page pipe test", MFD_CLOEXEC));
  std::vector<unsigned char> bytes(kBytes);
  for (std::size_t i = 0; i < kBytes; i++) bytes[i] = static_cast<unsigned char>(i * 2654435761u >> 11);
  CHECK(::pwrite(file.get(), bytes.data(), kBytes, 0) == static_cast<ssize_t>(kBytes));
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  const UniqueFd sending(ends[0]);
  const UniqueFd receiving(ends[1]);

  iscsi::PagePipe pages;
  std::vector<unsigned char> arrived;
  std::vector<unsigned char> room(100001);
  std::size_t sent = 0;
  int blocked = 0;
  while (arrived.size() < kBytes) {
    if (sent < kBytes) {
      const auto count = pages.send(sending.get(), file.get(), sent, kBytes - sent);
      CHECK(count > 0 || (count == -1 && errno == EAGAIN));
      if (count > 0) {
        sent += static_cast<std::size_t>(count);
        continue;
      }
      blocked++;
    }
    const auto count = ::recv(receiving.get(), room.data(), room.size(), 0);
    CHECK(count > 0);
    if (count <= 0) return;
    arrived.insert(arrived.end(), room.begin(), room.begin() + count);
  }
  CHECK(blocked > 0);
  CHECK(arrived == bytes);
  CHECK(pages.send(sending.get(), file.get(), kBytes, 1 << 20) == 0);
}
