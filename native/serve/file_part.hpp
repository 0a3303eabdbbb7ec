// A part of a file on its way over a connected socket by sendfile(2): the kernel takes it from the page cache, nothing is copied here.
#pragma once

#include <cstdint>

#include "bytes/fault.hpp"

namespace ironrack::serve {

struct FilePart {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t sent = 0;

  [[nodiscard]] bool whole() const { return sent == length; }
  /// Sends up to `most` bytes more, as long as the socket, which does not block, takes them.
  Result<void> send(int socket, int file, std::uint64_t most);
  /// Whether the next `most` bytes can be sent without waiting for the disk, as far as the last one of them tells.
  [[nodiscard]] bool is_in_memory(int file, std::uint64_t most) const;
};

}  // namespace ironrack::serve
