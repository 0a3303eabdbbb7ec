#include "iscsi/page_pipe.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace ironrack::iscsi {
namespace {

/// A command of 256 KiB with its header, and most of a second one. A user who has too many large pipes gets smaller ones, which do too.
constexpr int kPipeBytes = 524288;

}  // namespace

int PagePipe::open() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
  out_ = UniqueFd(ends[0]);
  in_ = UniqueFd(ends[1]);
  ::fcntl(in_.get(), F_SETPIPE_SZ, kPipeBytes);
  return 0;
}

ssize_t PagePipe::held(ssize_t count) {
  if (count > 0) held_ += static_cast<std::size_t>(count);
  return count;
}

ssize_t PagePipe::put_copy(ByteSpan bytes) { return held(::write(in_.get(), bytes.data(), bytes.size())); }

ssize_t PagePipe::put_pages(ByteSpan bytes) {
  const iovec pages{const_cast<std::byte*>(bytes.data()), bytes.size()};
  return held(::vmsplice(in_.get(), &pages, 1, SPLICE_F_NONBLOCK));
}

ssize_t PagePipe::put_file(int file, std::uint64_t offset, std::size_t length) {
  auto at = static_cast<off_t>(offset);
  return held(::splice(file, &at, in_.get(), nullptr, length, SPLICE_F_NONBLOCK));
}

int PagePipe::pass_on(int socket) {
  while (held_ > 0) {
    const auto count = ::splice(out_.get(), nullptr, socket, nullptr, held_, SPLICE_F_NONBLOCK | SPLICE_F_MORE);
    if (count <= 0) return count == 0 ? EAGAIN : errno;
    held_ -= static_cast<std::size_t>(count);
  }
  return 0;
}

}  // namespace ironrack::iscsi
