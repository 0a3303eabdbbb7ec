// Runs TFTP transfers on a thread of its own, each on a socket of its own: an acknowledgement costs two system calls here
// and none of Node's event loop, which alone takes as long as a whole round trip on a LAN. Requests, options, limits and the log stay in
// src/service/tftp-service.ts.
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <deque>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "serve/orders.hpp"
#include "serve/sent_file.hpp"
#include "serve/tftp_burst.hpp"
#include "serve/tftp_exchange.hpp"
#include "serve/watch.hpp"

namespace ironrack::serve {

/// An address of either family with a port, as system calls take it.
struct UdpEndpoint {
  UdpEndpoint() = default;
  UdpEndpoint(const sockaddr_in& v4) : size(sizeof v4) { std::memcpy(&storage, &v4, sizeof v4); }
  UdpEndpoint(const sockaddr_in6& v6) : size(sizeof v6) { std::memcpy(&storage, &v6, sizeof v6); }

  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* name() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

struct TftpRequest {
  std::uint32_t id = 0;
  /// Ours; its port is free to choose.
  UdpEndpoint local;
  UdpEndpoint peer;
  /// The file, or without one the bytes.
  UniqueFd file;
  std::vector<std::byte> bytes;
  std::uint64_t size = 0;
  TftpTerms terms;
  /// The OACK as it goes out; empty when nothing is offered.
  std::vector<std::byte> offer;
};

struct TftpOutcome {
  std::uint32_t id = 0;
  Result<TftpResult> result;
  std::uint64_t malformed = 0;
};

class TftpSender {
 public:
  using Request = TftpRequest;
  using Outcome = TftpOutcome;

  /// `on_outcome` is called on the sender's thread when there are outcomes to take.
  explicit TftpSender(std::function<void()> on_outcome);
  ~TftpSender() { finish(); }
  TftpSender(const TftpSender&) = delete;
  TftpSender& operator=(const TftpSender&) = delete;

  /// Nothing is over at once.
  std::optional<TftpOutcome> start(TftpRequest request) {
    orders_.request(std::move(request));
    return std::nullopt;
  }
  /// Ends the transfer with an ERROR to its client; its outcome says so.
  void cancel(std::uint32_t id) { orders_.cancel(id); }
  std::vector<TftpOutcome> take_outcomes() { return orders_.take_outcomes(); }
  /// Ends every transfer so and the thread; their outcomes can be taken. Idempotent.
  void finish();

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Transfer {
    std::uint32_t id;
    UniqueFd socket;
    TftpExchange exchange;
    std::shared_ptr<SentFile> file;
    std::vector<std::byte> offer;
    DueBlocks due;
    Time deadline;
    Time sent_at;
    bool segments = false;
    bool waits_for_room = false;
  };

  void work();
  /// Whether the thread goes on.
  bool take_orders();
  void begin(TftpRequest request);
  Result<std::shared_ptr<SentFile>> contents(TftpRequest& request);
  [[nodiscard]] std::optional<std::chrono::milliseconds> patience() const;
  /// Ends the oldest of the transfers that no client has answered when they are too many.
  void make_room();
  void receive(Transfer& transfer);
  void carry_out(Transfer& transfer, TftpActions actions);
  void send_due(Transfer& transfer);
  void wait_for_room(Transfer& transfer, bool wait);
  void end(Transfer& transfer, Result<TftpResult> result);
  void look_at_deadlines();
  static void send_error(const Transfer& transfer, const TftpError& error);

  Orders<TftpRequest, TftpOutcome> orders_;
  Watch watch_{orders_.fd()};
  TftpBurst burst_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Transfer>> transfers_;
  /// In the order of their beginning; some of them have been answered or are over.
  std::deque<std::uint32_t> unanswered_;
  /// Mappings in use, shared by all transfers of the same contents.
  struct Shared {
    std::uint64_t device, inode, size;
    std::int64_t seconds, nanoseconds;
    std::weak_ptr<SentFile> file;
  };
  std::vector<Shared> shared_;
  Time now_;
  Time next_look_;
  /// Until then the next packet is looked for without sleeping.
  Time awake_until_;
  const bool several_processors_ = std::thread::hardware_concurrency() > 1;
  std::thread thread_;
};

}  // namespace ironrack::serve
