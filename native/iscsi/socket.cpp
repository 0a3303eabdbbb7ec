#include "iscsi/socket.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

namespace ironrack::iscsi {
namespace {

Fault lost(const char* what, int error) {
  Fault fault = system_fault(FaultKind::unreachable, "iscsi.connection-lost", what, error);
  fault.retry = Retry::later;
  return fault;
}

}  // namespace

Result<Socket> Socket::connect(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return std::unexpected(Fault{FaultKind::invalid, "iscsi.address", "the target's address is not a numeric IP address", Retry::never, {}}.with("address", address));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> guard(found, &::freeaddrinfo);
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return std::unexpected(system_fault(FaultKind::internal, "iscsi.socket", "no socket can be made", errno));
  PagePipe pages;
  if (const auto error = pages.open(); error != 0) return std::unexpected(system_fault(FaultKind::internal, "iscsi.pipe", "no pipe can be made", error));
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
    return std::unexpected(lost("the target cannot be reached", errno));
  }
  return Socket(std::move(fd), std::move(pages));
}

Result<void> Socket::connected() const {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return std::unexpected(lost("the target cannot be reached", error));
  return {};
}

Result<std::size_t> Socket::send(ByteSpan bytes) const {
  const auto count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EAGAIN || errno == EINTR) return 0;
  return std::unexpected(lost("the connection to the target broke while sending", errno));
}

Result<std::size_t> Socket::send(std::span<const Segment> segments, bool more) {
  const auto copied = [](const Segment& segment) { return segment.memory != nullptr && !segment.stays; };
  if (pages_.empty() && std::ranges::all_of(segments, copied)) return send_copies(segments, more);
  if (!corked_) set_corked(true);
  std::size_t taken = 0;
  for (const auto& segment : segments) {
    const ByteSpan bytes(segment.memory, segment.memory != nullptr ? segment.length : 0);
    const auto count = bytes.empty() ? pages_.put_file(segment.file, segment.file_offset, segment.length) : segment.stays ? pages_.put_pages(bytes) : pages_.put_copy(bytes);
    if (count > 0) taken += static_cast<std::size_t>(count);
    if (count == static_cast<ssize_t>(segment.length)) continue;
    // What is wrong with this one is told when there is none before it.
    if (count > 0 || taken > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR))) break;
    if (count == 0) return fail(FaultKind::malformed, "image.truncated", "the image file became shorter while it was streamed");
    return std::unexpected(system_fault(FaultKind::storage, "image.read", "the image cannot be read", errno));
  }
  return taken;
}

Result<std::size_t> Socket::send_copies(std::span<const Segment> segments, bool more) const {
  std::array<iovec, kMostSegments> vectors;
  std::ranges::transform(segments, vectors.begin(), [](const Segment& segment) { return iovec{const_cast<std::byte*>(segment.memory), segment.length}; });
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = segments.size();
  const auto count = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EAGAIN || errno == EINTR) return 0;
  return std::unexpected(lost("the connection to the target broke while sending", errno));
}

Result<bool> Socket::pass_on() {
  const auto error = pages_.pass_on(fd_.get());
  if (error == 0) return true;
  if (error == EAGAIN || error == EINTR) return false;
  return std::unexpected(lost("the connection to the target broke while sending", error));
}

void Socket::uncork() {
  if (corked_) set_corked(false);
}

void Socket::set_corked(bool corked) {
  const int value = corked ? 1 : 0;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_CORK, &value, sizeof value);
  corked_ = corked;
}

void Socket::drop_unsent() const {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

Result<std::size_t> Socket::receive(std::span<std::byte> room) const {
  const auto count = ::recv(fd_.get(), room.data(), room.size(), MSG_DONTWAIT);
  if (count > 0) return static_cast<std::size_t>(count);
  if (count == 0) return std::unexpected(Fault{FaultKind::unreachable, "iscsi.connection-lost", "the target closed the connection", Retry::later, {}});
  if (errno == EAGAIN || errno == EINTR) return 0;
  return std::unexpected(lost("the connection to the target broke", errno));
}

}  // namespace ironrack::iscsi
