// One connection to a target, from TCP to the full-feature phase: socket, framer, login and session together. It decides
// nothing: what to send next and what to do when it breaks is its owner's.
#pragma once

#include <memory>
#include <optional>

#include "iscsi/framer.hpp"
#include "iscsi/login.hpp"
#include "iscsi/session.hpp"
#include "iscsi/socket.hpp"

namespace ironrack::iscsi {

class Link {
 public:
  enum class Phase : std::uint8_t { connecting, login, full_feature };

  /// Begins to connect.
  static Result<std::unique_ptr<Link>> open(const std::string& address, std::uint16_t port, std::uint16_t lun, LoginConfig config);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// The socket can be written to, or broke: ends connecting, allows sending.
  Result<void> on_writable(std::uint64_t now_ms);
  /// Takes what has arrived, but not for ever. True when there may be more.
  Result<bool> receive(std::uint64_t now_ms);
  /// Sends what is there to send until the socket takes no more.
  Result<void> flush();

  [[nodiscard]] Phase phase() const { return phase_; }
  /// Present in the full-feature phase.
  [[nodiscard]] Session* session() { return session_ ? &*session_ : nullptr; }
  [[nodiscard]] const Session* session() const { return session_ ? &*session_ : nullptr; }
  /// Where the target sent us instead, once receive() failed with iscsi.redirected.
  [[nodiscard]] const std::optional<LoginRedirect>& redirect() const { return redirect_; }
  [[nodiscard]] bool used_newer_chap() const { return login_ && login_->used_newer_algorithm(); }
  [[nodiscard]] bool send_blocked() const { return send_blocked_; }
  [[nodiscard]] int fd() const { return socket_.fd(); }
  /// The connection ended in order: nothing has to be dropped when it closes.
  void leave_in_order() { in_order_ = true; }

 private:
  Link(Socket socket, std::uint16_t lun, LoginConfig config);
  Result<void> on_frame(const Frame& frame, std::uint64_t now_ms);
  void queue(const LoginSend& message);

  Socket socket_;
  std::uint16_t lun_;
  Framer framer_;
  std::optional<Login> login_;
  std::optional<Session> session_;
  std::vector<std::byte> output_;  // of the login
  std::optional<LoginRedirect> redirect_;
  Phase phase_ = Phase::connecting;
  bool send_blocked_ = true;
  bool in_order_ = false;
};

}  // namespace ironrack::iscsi
