#include "image/read_ahead.hpp"

#include <fcntl.h>
#include <sys/uio.h>

#include <cstddef>

namespace ironrack::image {

void read_ahead(int file, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  std::byte last;
  const iovec room{&last, 1};
  if (::preadv2(file, &room, 1, static_cast<off_t>(offset + length - 1), RWF_NOWAIT) >= 0) return;  // there, or behind the end
  ::posix_fadvise(file, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
}

}  // namespace ironrack::image
