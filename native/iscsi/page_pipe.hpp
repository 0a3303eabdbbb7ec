// Moves pages of a file to a socket as sendfile does, but 256 KiB at a time where sendfile's own pipe holds 64 KiB.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "bytes/unique_fd.hpp"

namespace ironrack::iscsi {

class PagePipe {
 public:
  /// As sendfile(2) with an offset: bytes that `socket` took, 0 at the file's end, -1 with errno. Nothing is kept of what it did not take.
  ssize_t send(int socket, int file, std::uint64_t offset, std::size_t length);

 private:
  enum class State : std::uint8_t { unopened, open, unusable };

  void open();
  void drain(std::size_t bytes);

  UniqueFd in_;
  UniqueFd out_;
  UniqueFd nowhere_;
  State state_ = State::unopened;
};

}  // namespace ironrack::iscsi
