#include "serve/tftp_burst.hpp"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>

namespace ironrack::serve {
namespace {

/// A datagram before it is cut: 65535 less the headers of IP and UDP.
constexpr std::size_t kLargestDatagram = 65535 - 20 - 8;

/// What says that this socket, route or device does not cut, or not pieces of this size.
bool refuses_segments(int error) { return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP; }

}  // namespace

bool TftpBurst::can_segment(std::uint32_t blksize) { return 2 * (kDataHeader + blksize) <= kLargestDatagram; }

BurstEnd TftpBurst::send(int socket, const TftpExchange& exchange, const SentFile& file, DueBlocks& due, bool& segments) {
  while (due.next < due.end) {
    const std::size_t piece = kDataHeader + exchange.terms().blksize;
    const std::size_t most = segments ? std::min(kMost, kLargestDatagram / piece) : kMost;
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(due.end - due.next, most));
    // A client that has the last block believes that it has the whole file.
    if (due.next + count - 1 == exchange.blocks() && file.shrunk()) return BurstEnd::unreadable;
    for (std::size_t i = 0; i < count; i++) {
      const std::uint64_t block = due.next + i;
      store_data_header(headers_[i].data(), block);
      parts_[2 * i] = {headers_[i].data(), kDataHeader};
      parts_[2 * i + 1] = {const_cast<std::byte*>(file.at(exchange.offset(block))), exchange.length(block)};
    }
    const int sent = send_some(socket, count, piece, segments);
    if (sent >= 0) {
      due.next += static_cast<std::uint64_t>(sent);
      continue;
    }
    switch (errno) {
      case EINTR: break;
      case EAGAIN: return BurstEnd::blocked;
      case EFAULT: return BurstEnd::unreadable;
      case ECONNREFUSED: return BurstEnd::refused;
      default:
        if (segments && refuses_segments(errno)) {
          segments = false;
          break;
        }
        // Lost on the way, like any datagram: no route for the moment, a firewall, no memory. The timeout repeats it.
        due.next = due.end;
    }
  }
  return BurstEnd::all;
}

int TftpBurst::send_some(int socket, std::size_t count, std::size_t piece, bool segments) {
  msghdr message{};
  message.msg_iov = parts_.data();
  if (count == 1 || segments) {
    message.msg_iovlen = 2 * count;
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(std::uint16_t))> control{};
    if (count > 1) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      auto* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = IPPROTO_UDP;
      header->cmsg_type = UDP_SEGMENT;
      header->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      const auto size = static_cast<std::uint16_t>(piece);
      std::memcpy(CMSG_DATA(header), &size, sizeof size);
    }
    return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : static_cast<int>(count);
  }
  for (std::size_t i = 0; i < count; i++) {
    messages_[i].msg_hdr = {};
    messages_[i].msg_hdr.msg_iov = &parts_[2 * i];
    messages_[i].msg_hdr.msg_iovlen = 2;
  }
  return ::sendmmsg(socket, messages_.data(), static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace ironrack::serve
