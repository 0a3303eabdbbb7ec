// One image onto any number of disks: opens the image, starts the threads, drives the targets, and answers.
#pragma once

#include <atomic>
#include <memory>

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

  /// From any thread; run() then returns within moments, with no socket left open.
  void cancel();

 private:
  struct Running;

  StreamRequest request_;
  Wakeup wakeup_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace ironrack::pipeline
