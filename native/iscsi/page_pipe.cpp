#include "iscsi/page_pipe.hpp"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace ironrack::iscsi {
namespace {

constexpr std::size_t kPipeBytes = 262144;
constexpr std::size_t kSendfileMost = 65536;  // goes through sendfile's own pipe in one turn

}  // namespace

void PagePipe::open() {
  state_ = State::unusable;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  out_ = UniqueFd(ends[0]);
  in_ = UniqueFd(ends[1]);
  nowhere_ = UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  // The kernel refuses large pipes to a user who has too many.
  if (nowhere_ && ::fcntl(in_.get(), F_SETPIPE_SZ, static_cast<int>(kPipeBytes)) >= static_cast<int>(kPipeBytes)) state_ = State::open;
}

ssize_t PagePipe::send(int socket, int file, std::uint64_t offset, std::size_t length) {
  auto at = static_cast<off_t>(offset);
  if (length > kSendfileMost && state_ == State::unopened) open();
  if (length <= kSendfileMost || state_ == State::unusable) return ::sendfile(socket, file, &at, length);
  const auto filled = ::splice(file, &at, in_.get(), nullptr, std::min(length, kPipeBytes), 0);
  if (filled <= 0) return filled;
  const auto count = ::splice(out_.get(), nullptr, socket, nullptr, static_cast<std::size_t>(filled), SPLICE_F_NONBLOCK | SPLICE_F_MORE);
  const auto error = count == 0 ? EAGAIN : errno;
  drain(static_cast<std::size_t>(filled - std::max<ssize_t>(count, 0)));
  errno = error;
  return count > 0 ? count : -1;
}

void PagePipe::drain(std::size_t bytes) {
  while (bytes > 0) {
    const auto count = ::splice(out_.get(), nullptr, nowhere_.get(), nullptr, bytes, 0);
    if (count <= 0) {
      state_ = State::unusable;  // what is left in it would go out as something else
      return;
    }
    bytes -= static_cast<std::size_t>(count);
  }
}

}  // namespace ironrack::iscsi
