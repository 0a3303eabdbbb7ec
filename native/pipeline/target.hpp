// One disk being written: connects, looks at the disk, goes on from a checkpoint, draws blocks from the carousel, synchronizes,
// reads back, leaves; comes back and goes on where it was when the connection is lost. Lives on the job's sending thread.
#pragma once

#include <memory>
#include <optional>

#include "iscsi/link.hpp"
#include "pipeline/checkpoint.hpp"
#include "pipeline/disk_probe.hpp"
#include "pipeline/disk_writer.hpp"
#include "pipeline/read_back.hpp"
#include "pipeline/route.hpp"
#include "pipeline/scsi_outcome.hpp"
#include "pipeline/target_plan.hpp"
#include "pipeline/work.hpp"

namespace ironrack::pipeline {

class Target {
 public:
  enum class State : std::uint8_t { waiting, connecting, probing, checking, ready, streaming, syncing, verifying, leaving, finished, failed };

  Target(TargetRequest request, const TargetPlan& plan, iscsi::Isid isid, std::uint64_t now_ms);

  void begin(std::uint64_t now_ms) { connect(now_ms); }
  /// The job has begun to lay out blocks.
  void start_streaming();

  /// Ends it as cancelled, with its socket.
  void cancel();

  void on_socket(std::uint32_t events, std::uint64_t now_ms);
  void on_tick(std::uint64_t now_ms);
  /// Gives the session what it has room for and the socket what it takes.
  void pump(std::uint64_t now_ms);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool over() const { return state_ == State::finished || state_ == State::failed; }
  /// -1 while there is no socket; each new one has a new number, so that the job registers it.
  [[nodiscard]] int fd() const { return link_ ? link_->fd() : -1; }
  [[nodiscard]] std::uint64_t socket_number() const { return socket_number_; }
  [[nodiscard]] bool wants_to_write() const { return link_ && link_->send_blocked(); }

  /// It takes blocks now; the others come back to them later.
  [[nodiscard]] bool draws() const { return state_ == State::streaming; }
  /// The next block it will look at.
  [[nodiscard]] std::uint64_t cursor() const { return writer_.cursor(); }
  /// It has taken all blocks there are and could take more.
  [[nodiscard]] bool idle() const { return writer_.idle(); }
  /// Nothing is on the way any more.
  [[nodiscard]] bool quiet() const { return works_.empty() && writer_.quiet(); }
  [[nodiscard]] const IntervalSet& done() const { return writer_.done(); }
  [[nodiscard]] bool has_everything() const { return writer_.has_everything(); }
  /// The image itself is at fault: that concerns all targets.
  [[nodiscard]] const std::optional<Fault>& source_fault() const { return source_fault_; }

  [[nodiscard]] TargetProgress progress() const;
  [[nodiscard]] TargetResult result() const;

 private:
  void connect(std::uint64_t now_ms);
  void lose(Fault fault, std::uint64_t now_ms);
  void fail(Fault fault);
  void finish(std::uint64_t now_ms);
  void enter(State state, std::uint64_t now_ms);
  void leave_when_asked(std::uint64_t now_ms);
  [[nodiscard]] iscsi::Session* session() { return link_ ? link_->session() : nullptr; }

  void give(Work work, std::uint64_t now_ms);
  void submit(std::uint32_t slot, std::uint64_t now_ms);
  void submit_retries(std::uint64_t now_ms);
  void end_overdue(std::uint64_t now_ms);
  void take_completions(std::uint64_t now_ms);
  void on_completion(const iscsi::Completion& completion, std::uint64_t now_ms);
  void on_end(Work work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms);
  void on_probe(const Work& work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms);
  void on_read(Work work, const iscsi::Completion& completion, std::uint64_t now_ms);

  void begin_resume(std::uint64_t now_ms);
  void end_resume(std::uint64_t now_ms);
  void refuse_resume(const char* why);
  void begin_checkpoint(std::uint64_t now_ms);

  void fill_streaming(std::uint64_t now_ms);
  void after_streaming(std::uint64_t now_ms);
  void after_synchronizing(std::uint64_t now_ms);
  void fill_reading(std::uint64_t now_ms);
  void take_sample(const Work& work);
  [[nodiscard]] CommandForm command_form() const;
  [[nodiscard]] bool window_open() const { return works_.inflight() == 0 || works_.inflight_bytes() < plan_.window_bytes; }

  TargetRequest request_;
  const TargetPlan& plan_;
  State state_ = State::waiting;
  State resume_to_ = State::streaming;  // where a reconnected target goes on

  Route route_;
  std::unique_ptr<iscsi::Link> link_;
  std::uint64_t socket_number_ = 0;

  DiskProbe probe_;
  std::optional<Disk> disk_;  // as it was when it was first looked at
  bool short_synchronize_ = false;

  WorkList works_;
  std::uint64_t activity_ = 0;  // commands given and ended: when it stands still there is nothing to do

  bool started_ = false;
  DiskWriter writer_;

  Checkpointer checkpointer_;
  std::uint64_t resumed_ = 0;        // bytes that an earlier job had written
  const char* resume_refused_ = "";  // why an earlier job's work does not count
  bool resuming_;
  ReadBack read_back_;
  std::uint64_t verified_ = 0;

  std::uint64_t begun_ms_;
  std::uint64_t ended_ms_ = 0;
  std::uint64_t progress_ms_;  // when it last came forward
  std::uint64_t state_since_ms_;
  std::uint64_t retry_at_ms_ = 0;
  std::optional<Fault> fault_;
  std::optional<Fault> last_trouble_;
  std::optional<Fault> source_fault_;
};

}  // namespace ironrack::pipeline
