// One disk being written: connects, looks at the disk, draws blocks from the carousel, synchronizes, reads back, leaves;
// comes back and goes on where it was when the connection is lost. Lives on the job's sending thread.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "bytes/interval_set.hpp"
#include "iscsi/link.hpp"
#include "pipeline/carousel.hpp"
#include "pipeline/disk_probe.hpp"
#include "pipeline/planner.hpp"
#include "pipeline/request.hpp"
#include "pipeline/scsi_outcome.hpp"
#include "pipeline/zero_method.hpp"

namespace ironrack::pipeline {

/// What all targets of a job share.
struct TargetPlan {
  std::uint64_t virtual_size = 0;
  HolePolicy policy = HolePolicy::write_zeroes;
  Verify verify = Verify::none;
  std::size_t window_bytes = 0;  // of data that a target may have on the way
  Carousel* carousel = nullptr;
  const std::vector<Record>* records = nullptr;  // of all data blocks laid out so far, in order
};

class Target {
 public:
  enum class State : std::uint8_t { waiting, connecting, probing, ready, streaming, syncing, verifying, leaving, finished, failed };

  Target(TargetRequest request, const TargetPlan& plan, iscsi::Isid isid, std::uint64_t now_ms);

  void begin(std::uint64_t now_ms) { connect(now_ms); }
  /// The job has begun to lay out blocks.
  void start_streaming();

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
  [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
  /// It has taken all blocks there are and could take more.
  [[nodiscard]] bool idle() const { return idle_; }
  /// Nothing is on the way any more.
  [[nodiscard]] bool quiet() const { return inflight_ == 0 && retries_.empty() && !zero_run_ && zero_backlog_.empty() && !current_; }
  [[nodiscard]] const IntervalSet& done() const { return done_; }
  [[nodiscard]] bool has_everything() const { return done_.contains(0, plan_.virtual_size); }
  /// The image itself is at fault: that concerns all targets.
  [[nodiscard]] const std::optional<Fault>& source_fault() const { return source_fault_; }

  [[nodiscard]] TargetProgress progress() const;
  [[nodiscard]] TargetResult result() const;

 private:
  enum class WorkKind : std::uint8_t { probe, write, write_zeroes, write_same, unmap, synchronize, read };

  /// What one command does; kept until it succeeded, over any number of tries and connections.
  struct Work {
    WorkKind kind = WorkKind::probe;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  // bytes of the disk, a multiple of its block size
    BlockRef block;
    std::vector<std::byte> owned;  // small parameters that are sent
    std::vector<std::byte> room;   // for what is read
    std::uint32_t read_so_far = 0;
    std::size_t record = 0;
    bool inflight = false;
    int attempts = 0;
    std::uint64_t not_before_ms = 0;
  };

  void connect(std::uint64_t now_ms);
  void lose(Fault fault, std::uint64_t now_ms);
  void fail(Fault fault);
  void finish(std::uint64_t now_ms);
  void enter(State state, std::uint64_t now_ms);
  [[nodiscard]] iscsi::Session* session() { return link_ ? link_->session() : nullptr; }

  void give(Work work, std::uint64_t now_ms);
  void submit(std::uint32_t slot, std::uint64_t now_ms);
  void submit_retries(std::uint64_t now_ms);
  iscsi::Command command_for(Work& work);
  void take_completions(std::uint64_t now_ms);
  void on_completion(const iscsi::Completion& completion, std::uint64_t now_ms);
  void on_end(Work work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms);
  void on_probe(const Work& work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms);
  void on_read(Work work, const iscsi::Completion& completion, std::uint64_t now_ms);

  void fill_streaming(std::uint64_t now_ms);
  bool take_block(std::uint64_t now_ms);
  void give_part_of_block(std::uint64_t now_ms);
  void give_zeroes(std::uint64_t now_ms);
  void fill_verifying(std::uint64_t now_ms);
  void after_streaming(std::uint64_t now_ms);
  void note_done(std::uint64_t offset, std::uint64_t length, std::uint64_t& counter);
  [[nodiscard]] std::uint32_t command_bytes() const;
  [[nodiscard]] bool window_open() const { return inflight_ == 0 || inflight_bytes_ < plan_.window_bytes; }

  TargetRequest request_;
  const TargetPlan& plan_;
  iscsi::Isid isid_;
  State state_ = State::waiting;
  State resume_to_ = State::streaming;  // where a reconnected target goes on

  std::unique_ptr<iscsi::Link> link_;
  std::uint64_t socket_number_ = 0;
  std::string address_;
  std::uint16_t port_;
  int redirects_ = 0;
  bool md5_only_ = false;
  std::optional<Fault> refusal_;  // of the login before md5_only_

  DiskProbe probe_;
  std::optional<Disk> disk_;  // as it was when it was first looked at
  ZeroMethod zero_method_ = ZeroMethod::write;
  bool short_synchronize_ = false;  // the device knows SYNCHRONIZE CACHE(10) only

  std::vector<Work> works_;
  std::vector<std::uint32_t> free_slots_;
  std::deque<std::uint32_t> retries_;
  std::size_t inflight_ = 0;
  std::size_t inflight_bytes_ = 0;
  std::uint64_t activity_ = 0;  // commands given and ended: when it stands still there is nothing to do

  bool started_ = false;
  std::uint64_t cursor_ = 0;
  BlockRef current_;              // the block being split into commands
  std::uint64_t current_at_ = 0;  // how far
  std::optional<Interval> zero_run_;
  std::vector<Interval> zero_backlog_;  // runs that the device refused to zero by command
  bool idle_ = false;
  IntervalSet done_;
  std::uint64_t written_ = 0;
  std::uint64_t skipped_ = 0;

  std::size_t next_record_ = 0;
  std::size_t records_left_ = 0;
  std::uint64_t verified_ = 0;

  std::uint64_t begun_ms_;
  std::uint64_t ended_ms_ = 0;
  std::uint64_t progress_ms_;  // when it last came forward
  std::uint64_t state_since_ms_;
  std::uint64_t retry_at_ms_ = 0;
  std::uint64_t backoff_ms_;
  std::optional<Fault> fault_;
  std::optional<Fault> last_trouble_;
  std::optional<Fault> source_fault_;
};

}  // namespace ironrack::pipeline
