// The transport: one non-blocking TCP connection.
#pragma once

#include <string>

#include "bytes/fault.hpp"
#include "bytes/unique_fd.hpp"
#include "iscsi/page_pipe.hpp"
#include "iscsi/session.hpp"

namespace ironrack::iscsi {

class Socket {
 public:
  static constexpr std::size_t kMostSegments = 512;  // of one send()

  /// Begins to connect to a numeric IPv4 or IPv6 address; the socket becomes writable when the connection stands or failed.
  static Result<Socket> connect(const std::string& address, std::uint16_t port);

  /// How the connecting ended.
  Result<void> connected() const;

  /// Bytes that are on their way; 0 when no more can be now.
  Result<std::size_t> send(ByteSpan bytes) const;
  /// What does not go out by copies alone is only on its way to the socket: pass_on() gives it.
  Result<std::size_t> send(std::span<const Segment> segments, bool more);
  /// True when the socket took all that was on its way.
  Result<bool> pass_on();

  /// Lets go of what was held back because it does not fill a packet. Whatever is not copied is held back: it leaves in full packets, though
  /// PDUs begin and end between them.
  void uncork();

  /// Bytes received; 0 when there are none now. A closed connection is a fault.
  Result<std::size_t> receive(std::span<std::byte> room) const;

  /// Makes closing drop what the kernel still has to send: bytes of an abandoned command must not arrive late.
  void drop_unsent() const;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Socket(UniqueFd fd, PagePipe pages) : fd_(std::move(fd)), pages_(std::move(pages)) {}
  Result<std::size_t> send_copies(std::span<const Segment> segments, bool more) const;
  void set_corked(bool corked);

  UniqueFd fd_;
  PagePipe pages_;
  bool corked_ = false;
};

}  // namespace ironrack::iscsi
