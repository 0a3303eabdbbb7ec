#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "iscsi/page_pipe.hpp"
#include "test/check.hpp"

using namespace ironrack;

RULE("pages of a file and of memory, and short bytes between them, reach a socket that takes less than it is given in order and once") {
  constexpr std::size_t kBytes = (3 << 20) + 777;
  const UniqueFd file(::memfd_create("page pipe test", MFD_CLOEXEC));
  std::vector<std::byte> bytes(kBytes);
  for (std::size_t i = 0; i < kBytes; i++) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 11);
  CHECK(::pwrite(file.get(), bytes.data(), kBytes, 0) == static_cast<ssize_t>(kBytes));
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  const UniqueFd sending(ends[0]);
  const UniqueFd receiving(ends[1]);

  iscsi::PagePipe pages;
  CHECK(pages.open() == 0);
  std::vector<std::byte> arrived;
  std::vector<std::byte> room(100001);
  std::size_t put = 0;
  int full = 0;
  int blocked = 0;
  for (int piece = 0; arrived.size() < kBytes; piece++) {
    if (put < kBytes) {
      const auto left = ByteSpan(bytes).subspan(put);
      const auto count = piece % 3 == 0   ? pages.put_copy(left.first(std::min<std::size_t>(left.size(), 48)))
                         : piece % 3 == 1 ? pages.put_file(file.get(), put, std::min<std::size_t>(left.size(), 262144))
                                          : pages.put_pages(left.first(std::min<std::size_t>(left.size(), 70001)));
      CHECK(count > 0 || (count == -1 && errno == EAGAIN));
      if (count > 0) {
        put += static_cast<std::size_t>(count);
        continue;
      }
      full++;
    }
    const auto error = pages.pass_on(sending.get());
    CHECK((error == 0) == pages.empty());
    CHECK(error == 0 || error == EAGAIN);
    if (error != 0) blocked++;
    const auto count = ::recv(receiving.get(), room.data(), room.size(), 0);
    CHECK(count > 0);
    if (count <= 0) return;
    arrived.insert(arrived.end(), room.begin(), room.begin() + count);
  }
  CHECK(full > 0 && blocked > 0);
  CHECK(arrived == bytes);
  CHECK(pages.put_file(file.get(), kBytes, 1 << 20) == 0);
}
