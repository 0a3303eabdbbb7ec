// On the way to a socket: pages of files and of memory, which are not copied, and short bytes between them. What went in comes out in
// order, and leaves as one run, however many pieces it was.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "bytes/endian.hpp"
#include "bytes/unique_fd.hpp"

namespace ironrack::iscsi {

class PagePipe {
 public:
  /// Before anything else; errno, or 0.
  int open();

  // Each answers how many bytes went in, -1 with errno; EAGAIN when it is full.
  ssize_t put_copy(ByteSpan bytes);
  /// The bytes must stay as they are until whoever reads the socket has them.
  ssize_t put_pages(ByteSpan bytes);
  /// 0 at the file's end.
  ssize_t put_file(int file, std::uint64_t offset, std::size_t length);

  /// Gives the socket what it takes; 0, or errno of why something is left.
  int pass_on(int socket);
  [[nodiscard]] bool empty() const { return held_ == 0; }

 private:
  ssize_t held(ssize_t count);

  UniqueFd in_;
  UniqueFd out_;
  std::size_t held_ = 0;
};

}  // namespace ironrack::iscsi
