// Sends parts of files over connected TCP sockets, many at a time: what the socket takes at once in the caller's thread, the rest
// in one of its own. It only writes: what the peer says is read by the socket's owner, who keeps a descriptor of his own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bytes/fault.hpp"
#include "bytes/unique_fd.hpp"
#include "serve/file_part.hpp"
#include "serve/orders.hpp"
#include "serve/watch.hpp"

namespace ironrack::serve {

struct FileRequest {
  std::uint32_t id = 0;
  /// These two need not stay open when start() has returned.
  int socket = -1;
  int file = -1;
  FilePart part;
  /// A peer that takes nothing for so long is given up.
  std::chrono::milliseconds patience{0};
};

struct FileOutcome {
  std::uint32_t id = 0;
  std::uint64_t sent = 0;
  Result<void> result;
};

class FileSender {
 public:
  using Request = FileRequest;
  using Outcome = FileOutcome;

  /// `on_outcome` is called on the sender's thread when there are outcomes to take.
  explicit FileSender(std::function<void()> on_outcome);
  ~FileSender() { finish(); }
  FileSender(const FileSender&) = delete;
  FileSender& operator=(const FileSender&) = delete;

  /// The outcome, if it is there at once; it is not told again. Where a client may be gone the caller ignores SIGPIPE, as Node does.
  std::optional<FileOutcome> start(FileRequest request);
  void cancel(std::uint32_t id) { orders_.cancel(id); }
  std::vector<FileOutcome> take_outcomes() { return orders_.take_outcomes(); }
  /// Cancels what runs and ends the thread; the outcomes can be taken. Idempotent.
  void finish();

 private:
  using Time = std::chrono::steady_clock::time_point;

  /// What a request has become in the sender's thread, with descriptors of its own.
  struct Job {
    std::uint32_t id;
    UniqueFd socket;
    UniqueFd file;
    FilePart part;
    std::chrono::milliseconds patience;
    Time progress{};
  };

  void work();
  /// Whether the thread goes on.
  bool take_orders();
  void begin(std::unique_ptr<Job> job);
  /// Whether the job goes on.
  bool send(Job& job);
  void end(Job& job, Result<void> result);
  void drop(std::uint32_t id);
  void look_for_stalled();

  Orders<std::unique_ptr<Job>, FileOutcome> orders_;
  Watch watch_{orders_.fd()};
  std::unordered_map<std::uint32_t, std::unique_ptr<Job>> jobs_;
  Time now_;
  Time next_look_;
  std::thread thread_;
};

}  // namespace ironrack::serve
