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
  /// Begins to connect to a numeric IPv4 or IPv6 address; the socket becomes writable when the connection stands or failed.
  static Result<Socket> connect(const std::string& address, std::uint16_t port);

  /// How the connecting ended.
  Result<void> connected() const;

  /// Bytes that the kernel took; 0 when it takes none now.
  Result<std::size_t> send(ByteSpan bytes) const;
  Result<std::size_t> send(const Burst& burst, std::span<const iovec> vectors);

  /// Holds back what does not fill a packet until uncork(): bytes of a file leave in full packets, though PDUs begin and end between them.
  void cork();
  void uncork();

  /// Bytes received; 0 when there are none now. A closed connection is a fault.
  Result<std::size_t> receive(std::span<std::byte> room) const;

  /// Makes closing drop what the kernel still has to send: bytes of an abandoned command must not arrive late.
  void drop_unsent() const;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit Socket(UniqueFd fd) : fd_(std::move(fd)) {}
  void set_corked(bool corked);

  UniqueFd fd_;
  PagePipe pages_;
  bool corked_ = false;
};

}  // namespace ironrack::iscsi
