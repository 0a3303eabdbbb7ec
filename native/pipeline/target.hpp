// One disk being written: connects, logs in, looks at the disk, draws blocks from the carousel, synchronizes, reads back,
// logs out; comes back and goes on where it was when the connection is lost. Lives on the job's sending thread.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "bytes/interval_set.hpp"
#include "iscsi/framer.hpp"
#include "iscsi/login.hpp"
#include "iscsi/session.hpp"
#include "iscsi/socket.hpp"
#include "pipeline/carousel.hpp"
#include "pipeline/planner.hpp"
#include "pipeline/request.hpp"

namespace ironrack::pipeline {

/// What all targets of a job share.
struct TargetPlan {
  std::uint64_t virtual_size = 0;
  HolePolicy policy = HolePolicy::write_zeroes;
  Verify verify = Verify::none;
  std::size_t window_bytes = 0;  // of data that a target may have on the way
  bool in_memory = false;        // blocks are in memory, not in files
  Carousel* carousel = nullptr;
  const std::vector<Record>* records = nullptr;  // of all data blocks laid out so far, in order
};

class Target {
 public:
  enum class State : std::uint8_t { waiting, connecting, login, probing, ready, streaming, syncing, verifying, leaving, finished, failed };

  Target(TargetRequest request, const TargetPlan& plan, iscsi::Isid isid, std::uint64_t now_ms);
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  void begin(std::uint64_t now_ms);
  /// The job has begun to lay out blocks.
  void start_streaming(std::uint64_t first_block);
  /// No more blocks will come; what is not done now never will be.
  void finish_streaming();

  void on_socket(std::uint32_t events, std::uint64_t now_ms);
  void on_tick(std::uint64_t now_ms);
  /// Gives the session what it has room for and the socket what it takes.
  void pump(std::uint64_t now_ms);
  void abandon(Fault fault);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool over() const { return state_ == State::finished || state_ == State::failed; }
  [[nodiscard]] bool probed() const { return probed_; }
  [[nodiscard]] const char* stage() const;
  [[nodiscard]] int fd() const { return socket_ ? socket_->fd() : -1; }
  /// Grows with every new socket, so that the job registers it.
  [[nodiscard]] std::uint64_t socket_number() const { return socket_number_; }
  [[nodiscard]] bool wants_to_write() const;

  /// The next block it will look at.
  [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
  /// It has taken all blocks there are and could take more.
  [[nodiscard]] bool idle() const { return idle_; }
  [[nodiscard]] bool draws() const { return state_ == State::streaming; }
  [[nodiscard]] bool has_everything() const { return done_.contains(0, plan_.virtual_size); }
  [[nodiscard]] const IntervalSet& done() const { return done_; }
  /// Nothing is on the way any more.
  [[nodiscard]] bool quiet() const { return inflight_ == 0 && retries_.empty() && !zero_run_ && zero_backlog_.empty() && !current_; }
  [[nodiscard]] std::optional<Fault> source_fault() const { return source_fault_; }

  [[nodiscard]] TargetProgress progress() const;
  [[nodiscard]] TargetResult result() const;

 private:
  enum class Work : std::uint8_t { none, probe, write, write_zeroes, write_same, unmap, synchronize, read };
  enum class ZeroMethod : std::uint8_t { write_same_unmap, unmap, write_same, write };
  enum class Probe : std::uint8_t { test_unit_ready, inquiry, pages, limits, provisioning, capacity_16, capacity_10, mode_sense, over };

  struct Job {
    Work work = Work::none;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;   // bytes of the disk, to the block size
    BlockRef block;
    std::vector<std::byte> owned;
    std::vector<std::byte> room;
    std::size_t record = 0;
    std::uint32_t read_so_far = 0;
    bool inflight = false;
    int attempts = 0;
    std::uint64_t not_before_ms = 0;
  };

  // connection
  void connect(std::uint64_t now_ms);
  void lose(Fault fault, std::uint64_t now_ms);
  void fail(Fault fault);
  void drop_connection();
  Result<void> receive_all(std::uint64_t now_ms);
  Result<void> on_frame(const iscsi::Frame& frame, std::uint64_t now_ms);
  Result<void> flush(std::uint64_t now_ms);
  void take_completions(std::uint64_t now_ms);

  // commands
  void submit(std::uint32_t slot, std::uint64_t now_ms);
  std::uint32_t take_slot(Job job);
  void release_slot(std::uint32_t slot);
  void on_completion(const iscsi::Completion& completion, std::uint64_t now_ms);
  void again(std::uint32_t slot, std::uint64_t at_ms);
  Fault scsi_fault(const Job& job, const iscsi::Completion& completion) const;

  // stages
  void probe_next(std::uint64_t now_ms);
  void on_probe(const Job& job, const iscsi::Completion& completion, std::uint64_t now_ms);
  void end_probe(std::uint64_t now_ms);
  void fill_streaming(std::uint64_t now_ms);
  bool issue_zeroes(std::uint64_t now_ms);
  void settle_zero_method();
  void after_streaming(std::uint64_t now_ms);
  void fill_verifying(std::uint64_t now_ms);
  void issue(Job job, std::uint64_t now_ms);
  void submit_retries(std::uint64_t now_ms);
  void note_done(std::uint64_t offset, std::uint64_t length, std::uint64_t& counter);
  void enter(State state, std::uint64_t now_ms);
  [[nodiscard]] std::uint32_t command_bytes() const;
  [[nodiscard]] std::uint64_t round_up(std::uint64_t bytes) const { return (bytes + capacity_.block_size - 1) / capacity_.block_size * capacity_.block_size; }

  TargetRequest request_;
  const TargetPlan& plan_;
  iscsi::Isid isid_;
  State state_ = State::waiting;
  State resume_to_ = State::streaming;  // where a reconnected target goes on
  std::string address_;
  std::uint16_t port_;
  int redirects_ = 0;
  bool md5_only_ = false;
  std::optional<Fault> refusal_;  // of the login before md5_only_

  std::optional<iscsi::Socket> socket_;
  std::uint64_t socket_number_ = 0;
  std::optional<iscsi::Framer> framer_;
  std::optional<iscsi::Login> login_;
  std::optional<iscsi::Session> session_;
  std::vector<std::byte> login_output_;
  bool send_blocked_ = false;

  Probe probe_ = Probe::test_unit_ready;
  bool probed_ = false;
  bool has_limits_page_ = false;
  bool has_provisioning_page_ = false;
  iscsi::Capacity capacity_;
  iscsi::BlockLimits limits_;
  iscsi::Provisioning provisioning_;
  ZeroMethod zero_method_ = ZeroMethod::write;

  std::vector<Job> jobs_;
  std::vector<std::uint32_t> free_slots_;
  std::deque<std::uint32_t> retries_;
  std::size_t inflight_ = 0;
  std::size_t inflight_bytes_ = 0;
  std::uint64_t activity_ = 0;  // commands given and ended: when it stands still there is nothing to do

  bool started_ = false;
  bool ending_ = false;
  std::uint64_t cursor_ = 0;
  BlockRef current_;              // the block being split into commands
  std::uint64_t current_at_ = 0;  // how far
  std::optional<Interval> zero_run_;
  std::vector<Interval> zero_backlog_;  // runs that a device refused to zero by command
  bool short_synchronize_ = false;      // the device knows SYNCHRONIZE CACHE(10) only
  bool idle_ = false;
  IntervalSet done_;
  std::uint64_t written_ = 0;
  std::uint64_t skipped_ = 0;

  std::size_t next_record_ = 0;
  std::size_t records_left_ = 0;
  std::uint64_t verified_ = 0;

  std::uint64_t begun_ms_;
  std::uint64_t ended_ms_ = 0;
  std::uint64_t progress_ms_;       // when it last came forward
  std::uint64_t state_since_ms_;
  std::uint64_t retry_at_ms_ = 0;
  std::uint64_t backoff_ms_ = 100;
  std::optional<Fault> fault_;
  std::optional<Fault> last_loss_;
  std::optional<Fault> source_fault_;
};

}  // namespace ironrack::pipeline
