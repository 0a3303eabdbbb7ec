// Keeps SIGPIPE from the calling thread while it lives: sendfile(2) and splice(2) raise it on a connection that broke, and
// have no MSG_NOSIGNAL. The error comes back as EPIPE all the same.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <time.h>

namespace ironrack::pipeline {

class PipeSignalGuard {
 public:
  PipeSignalGuard() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~PipeSignalGuard() {
    // One that is pending would arrive as soon as it is let through again.
    const timespec at_once{};
    if (sigismember(&before_, SIGPIPE) == 0) sigtimedwait(&pipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  PipeSignalGuard(const PipeSignalGuard&) = delete;
  PipeSignalGuard& operator=(const PipeSignalGuard&) = delete;

 private:
  sigset_t pipe_;
  sigset_t before_;
};

}  // namespace ironrack::pipeline
