// One image onto any number of disks: opens the image, starts the threads, drives the targets, and answers.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "pipeline/request.hpp"
#include "pipeline/wakeup.hpp"

namespace ironrack::pipeline {

class StreamJob {
 public:
  explicit StreamJob(StreamRequest request);
  ~StreamJob();

  /// Blocks until every target is written or failed. A fault of the image, of the request, or a cancel is the job's; a target's is in its
  /// result. `on_progress` is called a few times a second, on this thread.
  Result<StreamResult> run(const OnProgress& on_progress);

  /// From any thread: one more target, which gets everything that went by before it came. Its place in the results; nothing when
  /// the job is about to end, full, or began without what this target needs: then it takes another job.
  std::optional<std::size_t> add(TargetRequest target);
  /// From any thread: this target ends as cancelled, the others go on.
  void drop(std::size_t target);
  /// From any thread; run() then returns within moments, with no socket left open.
  void cancel();

 private:
  struct Running;

  /// What other threads ask of the running job.
  struct Mail {
    std::vector<TargetRequest> joins;
    std::vector<std::size_t> drops;
  };
  Mail take_mail();
  bool close_if_no_mail();

  StreamRequest request_;
  Wakeup wakeup_;
  std::atomic<bool> cancelled_ = false;
  std::stop_source stop_;  // of waits for bytes that have not arrived
  std::mutex mutex_;
  Mail mail_;
  std::size_t count_;       // of all targets that ever were
  std::size_t living_;      // of those that have not ended, and those that are about to join
  bool checksums_;          // of all data: some can only be given when it began so
  bool closed_ = false;
};

}  // namespace ironrack::pipeline
