// Sends parts of files over connected TCP sockets with sendfile(2) on a thread of its own, many at a time. It only writes:
// what the peer says is read by the socket's owner, who keeps a descriptor of his own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bytes/fault.hpp"
#include "bytes/unique_fd.hpp"
#include "serve/orders.hpp"

namespace ironrack::serve {

struct FileRequest {
  std::uint32_t id = 0;
  UniqueFd socket;
  UniqueFd file;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
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

  void start(FileRequest request) { orders_.request(std::move(request)); }
  void cancel(std::uint32_t id) { orders_.cancel(id); }
  std::vector<FileOutcome> take_outcomes() { return orders_.take_outcomes(); }
  /// Cancels what runs and ends the thread; the outcomes can be taken. Idempotent.
  void finish();

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Job {
    FileRequest request;
    std::uint64_t sent = 0;
    Time progress;
  };

  void work();
  /// Whether the thread goes on.
  bool take_orders();
  void begin(FileRequest request);
  /// Whether the job goes on.
  bool send(Job& job);
  void end(Job& job, Result<void> result);
  void drop(std::uint32_t id);
  void look_for_stalled();

  Orders<FileRequest, FileOutcome> orders_;
  UniqueFd epoll_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Job>> jobs_;
  Time now_;
  Time next_look_;
  std::thread thread_;
};

}  // namespace ironrack::serve
