#include "serve/file_part.hpp"

#include <sys/sendfile.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

namespace ironrack::serve {

Result<void> FilePart::send(int socket, int file, std::uint64_t most) {
  const std::uint64_t end = sent + std::min(length - sent, most);
  while (sent < end) {
    auto at = static_cast<off_t>(offset + sent);
    const auto count = ::sendfile(socket, file, &at, static_cast<std::size_t>(end - sent));
    if (count > 0) {
      sent += static_cast<std::uint64_t>(count);
      continue;
    }
    if (count == 0) return fail(FaultKind::storage, "file.shrunk", "the file became shorter while it was sent");
    switch (errno) {
      case EINTR: break;
      case EAGAIN: return {};
      case EPIPE:
      case ECONNRESET:
      case ETIMEDOUT: return fail(FaultKind::cancelled, "http.aborted", "the client went away");
      default: return std::unexpected(system_fault(FaultKind::storage, "file.unreadable", "the file cannot be sent", errno));
    }
  }
  return {};
}

bool FilePart::is_in_memory(int file, std::uint64_t most) const {
  const std::uint64_t count = std::min(length - sent, most);
  if (count == 0) return true;
  std::byte last;
  const iovec into{&last, 1};
  return ::preadv2(file, &into, 1, static_cast<off_t>(offset + sent + count - 1), RWF_NOWAIT) == 1;
}

}  // namespace ironrack::serve
