// Sends the blocks of a window at once: as one datagram that the kernel cuts (UDP_SEGMENT), and where it will not, as many
// in one call. The data goes from the page cache to the socket without being copied in between.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>

#include "serve/sent_file.hpp"
#include "serve/tftp_exchange.hpp"
#include "serve/tftp_packet.hpp"

namespace ironrack::serve {

/// How far a burst came.
enum class BurstEnd {
  all,
  /// The socket's buffer is full: go on when it is writable.
  blocked,
  /// The client's port is closed.
  refused,
  /// The file.
  unreadable,
};

/// Blocks that are due on one socket.
struct DueBlocks {
  std::uint64_t next = 0;
  std::uint64_t end = 0;
};

class TftpBurst {
 public:
  /// Sends from `due.next` on, which moves. `segments`: the socket cuts; is made false when it turns out that it does not.
  BurstEnd send(int socket, const TftpExchange& exchange, const SentFile& file, DueBlocks& due, bool& segments);

  /// Whether two blocks of this size fit the datagram that would be cut.
  static bool can_segment(std::uint32_t blksize);

 private:
  static constexpr std::size_t kMost = 64;

  /// How many blocks went out, or -1 with errno.
  int send_some(int socket, std::size_t count, std::size_t piece, bool segments);

  std::array<std::array<std::byte, kDataHeader>, kMost> headers_;
  std::array<iovec, kMost * 2> parts_;
  std::array<mmsghdr, kMost> messages_;
};

}  // namespace ironrack::serve
