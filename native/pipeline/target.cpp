#include "pipeline/target.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cstdio>

#include "bytes/crc32c.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kConnectMs = 5000;
constexpr std::uint64_t kLoginMs = 15000;
constexpr std::uint64_t kSilenceMs = 10000;       // after which the target is pinged
constexpr std::uint64_t kPingMs = 20000;          // within which it has to say something, be it the answer or another
constexpr std::uint64_t kAbortMs = 10000;         // for the answer to ABORT TASK
constexpr std::uint64_t kFirstContactMs = 10000;  // for a target to appear
constexpr std::uint64_t kComeBackMs = 30000;      // for a lost target to appear again, or a busy one to take something
constexpr std::uint64_t kLogoutMs = 2000;
constexpr int kMostAttempts = 10;
constexpr int kTurns = 32;                 // of filling and sending before others get their turn
constexpr std::size_t kLeastCommands = 8;   // that a target's window has room for
constexpr std::uint32_t kSampleBytes = 262144;

Fault timeout(const char* code, const char* message) { return Fault{FaultKind::timeout, code, message, Retry::later, {}}; }

}  // namespace

Target::Target(TargetRequest request, const TargetPlan& plan, iscsi::Isid isid, std::uint64_t now_ms)
    : request_(std::move(request)), plan_(plan), route_(request_, isid), writer_(plan), resuming_(request_.resume != nullptr), begun_ms_(now_ms), progress_ms_(now_ms), state_since_ms_(now_ms) {}

// ---- the connection ----

void Target::enter(State state, std::uint64_t now_ms) {
  state_ = state;
  state_since_ms_ = now_ms;
}

void Target::connect(std::uint64_t now_ms) {
  auto link = route_.open();
  if (!link) return lose(std::move(link.error()), now_ms);
  link_ = std::move(*link);
  socket_number_++;
  enter(State::connecting, now_ms);
}

void Target::fail(Fault fault) {
  link_.reset();
  works_.clear();
  writer_.clear();
  fault_ = std::move(fault);
  state_ = State::failed;
}

void Target::cancel() {
  if (!over()) fail(Fault{FaultKind::cancelled, "stream.cancelled", "the stream was cancelled", Retry::never, {}});
}

void Target::finish(std::uint64_t now_ms) {
  link_->leave_in_order();
  link_.reset();
  ended_ms_ = now_ms;
  enter(State::finished, now_ms);
}

void Target::lose(Fault fault, std::uint64_t now_ms) {
  // Everything was synchronized; a target that hangs up without a logout response has lost nothing.
  if (state_ == State::leaving) return finish(now_ms);
  if (fault.code == "image.truncated" || fault.code == "image.read") {
    source_fault_ = fault;
    return fail(std::move(fault));
  }
  fault = route_.judge(std::move(fault), link_.get());
  const std::uint64_t least_pause = session() != nullptr ? session()->stay_away_ms() : 0;
  link_.reset();
  writer_.set_busy();
  if (fault.retry == Retry::never) return fail(std::move(fault));
  const auto patience = disk_ ? kComeBackMs : kFirstContactMs;
  if (now_ms - progress_ms_ >= patience) return fail(std::move(fault));

  // Writes may be repeated: what was on the way is sent again. The new login reinstates the session (same ISID), which
  // ends the old connection's tasks, so none of them can come in late.
  works_.interrupt();
  if (state_ == State::checking || state_ == State::streaming || state_ == State::syncing || state_ == State::verifying) resume_to_ = state_;
  last_trouble_ = std::move(fault);
  retry_at_ms_ = now_ms + std::max(route_.pause_ms(), least_pause);
  enter(State::waiting, now_ms);
}

void Target::on_socket(std::uint32_t events, std::uint64_t now_ms) {
  if (!link_) return;
  constexpr std::uint32_t kBroken = EPOLLERR | EPOLLHUP;
  const bool connecting = link_->phase() == iscsi::Link::Phase::connecting;
  if ((events & EPOLLOUT) != 0 || (connecting && (events & kBroken) != 0)) {
    if (auto written = link_->on_writable(now_ms); !written) return lose(std::move(written.error()), now_ms);
  }
  if (!connecting && (events & (EPOLLIN | kBroken)) != 0) {
    auto received = link_->receive(now_ms);
    // What came before the connection broke still counts.
    take_completions(now_ms);
    if (!link_) return;
    if (!received) return lose(std::move(received.error()), now_ms);
  }
  if (state_ == State::connecting && session() != nullptr) {
    route_.arrived();
    // Whole commands that need not be asked for come first. Where they must, longer ones make for fewer questions and answers.
    const auto unasked = session()->unsolicited_bytes() >= kCommandBytes;
    writer_.write_at_most(unasked ? kCommandBytes : static_cast<std::uint32_t>(std::clamp<std::size_t>(plan_.window_bytes / kLeastCommands, kCommandBytes, kMostCommandBytes)));
    probe_ = DiskProbe();
    enter(State::probing, now_ms);
    give({.kind = WorkKind::probe}, now_ms);
  }
  pump(now_ms);
}

void Target::pump(std::uint64_t now_ms) {
  for (int turn = 0; turn < kTurns && link_; turn++) {
    const auto before = activity_;
    if (session() != nullptr) {
      submit_retries(now_ms);
      if (state_ == State::streaming) fill_streaming(now_ms);
      if (state_ == State::verifying || state_ == State::checking) fill_reading(now_ms);
      if (!link_) return;
    }
    if (auto flushed = link_->flush(); !flushed) return lose(std::move(flushed.error()), now_ms);
    take_completions(now_ms);
    if (session() == nullptr) return;
    if (state_ == State::leaving && session()->logged_out()) return finish(now_ms);
    if (session()->asked_to_leave()) leave_when_asked(now_ms);
    if (!link_ || link_->send_blocked() || activity_ == before) return;
  }
  if (!link_) return;
  // Others first; the loop comes back at once.
  plan_.carousel->want_notice();
  plan_.carousel->notify();
}

/// The target wants the session to end: nothing new is given, what is under way is waited for, then we log out and come back.
void Target::leave_when_asked(std::uint64_t now_ms) {
  const auto leaves = [] { return Fault{FaultKind::unreachable, "iscsi.target-leaves", "the target asked for the session to end", Retry::later, {}}; };
  if (session()->dropping() || session()->logged_out()) return lose(leaves(), now_ms);
  if (works_.inflight() > 0 && now_ms < session()->leave_by_ms()) return;
  if (session()->logging_out()) {
    if (now_ms >= session()->leave_by_ms() + kLogoutMs) lose(leaves(), now_ms);
    return;
  }
  session()->logout();
  activity_++;
}

void Target::on_tick(std::uint64_t now_ms) {
  const auto here_ms = now_ms - state_since_ms_;
  if (state_ == State::waiting && now_ms >= retry_at_ms_) return connect(now_ms);
  if (!link_) return;
  if (state_ == State::connecting) {
    if (link_->phase() == iscsi::Link::Phase::connecting && here_ms >= kConnectMs) return lose(timeout("iscsi.connect-timeout", "the target does not answer"), now_ms);
    if (here_ms >= kLoginMs) return lose(timeout("iscsi.login-timeout", "the target does not answer the login"), now_ms);
    return;
  }
  if (state_ == State::leaving && here_ms >= kLogoutMs) return finish(now_ms);
  if (session() == nullptr) return;
  end_overdue(now_ms);
  if (!link_) return;
  if (!quiet() && now_ms - progress_ms_ >= plan_.command_ms + kComeBackMs) {
    return fail(last_trouble_ ? *last_trouble_ : timeout("iscsi.no-progress", "the target takes no data"));
  }
  pump(now_ms);
}

/// A silent target is pinged, then left; one command that takes too long is aborted, and the connection given up when that helps nothing.
void Target::end_overdue(std::uint64_t now_ms) {
  auto& session = *this->session();
  const auto pinged = session.pinged_ms();
  if (pinged && now_ms - std::max(*pinged, session.heard_ms()) >= kPingMs) return lose(timeout("iscsi.silent", "the target does not answer"), now_ms);
  if (const auto asked = session.abort_asked_ms(); asked && now_ms - *asked >= kAbortMs) {
    return lose(timeout("iscsi.command-timeout", "the target neither ends a command nor aborts it"), now_ms);
  }
  if (now_ms >= plan_.command_ms && session.abort_older_than(now_ms - plan_.command_ms, now_ms)) activity_++;
  if (!pinged && now_ms - session.heard_ms() >= kSilenceMs) session.ping(now_ms);
}

// ---- commands ----

void Target::give(Work work, std::uint64_t now_ms) { submit(works_.add(std::move(work)), now_ms); }

void Target::submit_retries(std::uint64_t now_ms) {
  // After a reconnect the disk is looked at again before anything is written to it.
  while (session()->room() > 0) {
    const auto slot = works_.take_retry(now_ms, state_ == State::probing);
    if (!slot) return;
    submit(*slot, now_ms);
  }
}

void Target::submit(std::uint32_t slot, std::uint64_t now_ms) {
  auto& work = works_.at(slot);
  auto command = work.kind == WorkKind::probe ? command_for(work, probe_.question()) : command_for(work, command_form());
  command.cookie = slot;
  works_.begin(slot);
  activity_++;
  session()->submit(command, now_ms);
}

CommandForm Target::command_form() const {
  return {disk_->capacity.block_size, writer_.command_bytes(), writer_.unmaps_by_write_same(), short_synchronize_};
}

void Target::take_completions(std::uint64_t now_ms) {
  if (session() == nullptr) return;
  for (const auto& completion : session()->take_completions()) {
    on_completion(completion, now_ms);
    if (!link_) return;
  }
}

void Target::on_completion(const iscsi::Completion& completion, std::uint64_t now_ms) {
  const auto slot = static_cast<std::uint32_t>(completion.cookie);
  auto& work = works_.at(slot);
  works_.end(slot);
  activity_++;

  const auto outcome = outcome_of(completion);
  const auto fault = [&] { return scsi_fault(completion, disk_ ? work.offset / disk_->capacity.block_size : 0); };
  // Probing looks at refusals itself; a zeroing command that is not known has a simpler one behind it.
  const bool may_be_refused = work.kind != WorkKind::write && work.kind != WorkKind::write_zeroes && work.kind != WorkKind::read;
  switch (outcome.kind) {
    case OutcomeKind::good:
      if (completion.untaken > 0) {
        return fail(Fault{FaultKind::storage, "scsi.short-write", "the target did not take all bytes of a write", Retry::never, {}}.with("untaken", std::uint64_t{completion.untaken}));
      }
      progress_ms_ = now_ms;
      route_.progressed();
      break;
    case OutcomeKind::refused:
      if (!may_be_refused) return fail(fault());
      break;
    case OutcomeKind::fatal: return fail(fault());
    case OutcomeKind::retry:
    case OutcomeKind::wait:
      if (outcome.kind == OutcomeKind::retry && ++work.attempts >= kMostAttempts) return fail(fault());
      if (!completion.aborted && now_ms - progress_ms_ >= kComeBackMs) return fail(fault());
      last_trouble_ = completion.aborted ? timeout("iscsi.command-timeout", "the target did not end a command in time; it was aborted") : fault();
      works_.retry(slot, now_ms + outcome.pause_ms);
      return;
  }
  on_end(works_.remove(slot), completion, outcome.kind == OutcomeKind::good, now_ms);
}

void Target::on_end(Work work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms) {
  switch (work.kind) {
    case WorkKind::probe: return on_probe(work, completion, good, now_ms);
    case WorkKind::read: return on_read(std::move(work), completion, now_ms);
    case WorkKind::write:
    case WorkKind::write_zeroes:
    case WorkKind::write_same:
    case WorkKind::unmap:
      writer_.ended(work, good);
      if (work.kind == WorkKind::write && request_.checkpoints && checkpointer_.wants_sample()) take_sample(work);
      break;
    case WorkKind::synchronize:
    case WorkKind::checkpoint:
      if (!good && !short_synchronize_) {
        short_synchronize_ = true;
        return give({.kind = work.kind}, now_ms);
      }
      // A device that knows neither form has no cache to write back.
      if (work.kind == WorkKind::synchronize) return after_synchronizing(now_ms);
      checkpointer_.end(now_ms);
      break;
  }
  after_streaming(now_ms);
}

void Target::on_probe(const Work& work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms) {
  const auto data = ByteSpan(work.room).first(std::min<std::size_t>(completion.received, work.room.size()));
  if (auto answered = probe_.answer(good, data, scsi_fault(completion, 0)); !answered) return fail(std::move(answered.error()));
  if (!probe_.over()) return give({.kind = WorkKind::probe}, now_ms);

  const auto& found = probe_.disk();
  if (found.size() < plan_.known_size()) return fail(disk_too_small(found.size(), plan_.known_size()));
  if (disk_ && (found.capacity.blocks != disk_->capacity.blocks || found.capacity.block_size != disk_->capacity.block_size)) {
    return fail(Fault{FaultKind::conflict, "disk.changed", "the disk changed its size while it was written", Retry::never, {}});
  }
  progress_ms_ = now_ms;
  if (!disk_) {
    disk_ = found;
    writer_.use(found);
    return begin_resume(now_ms);
  }
  if (resume_to_ == State::checking) enter(State::checking, now_ms);
  else enter(started_ ? resume_to_ : State::ready, now_ms);
  after_streaming(now_ms);
}

void Target::on_read(Work work, const iscsi::Completion& completion, std::uint64_t now_ms) {
  if (completion.received == 0) return fail(Fault{FaultKind::storage, "scsi.short-read", "the target returns fewer bytes than it was asked for", Retry::never, {}});
  work.read_so_far += completion.received;
  if (work.read_so_far < work.length) return give(std::move(work), now_ms);
  auto taken = read_back_.take(work.record, work.room, disk_->capacity.block_size);
  if (state_ == State::checking) {
    if (!taken) {
      refuse_resume("content");
      read_back_.stop();
    }
    if (works_.empty() && read_back_.all_given()) end_resume(now_ms);
    return;
  }
  if (!taken) return fail(std::move(taken.error()));
  verified_ += read_back_.record(work.record).length;
  if (!read_back_.over()) return;
  session()->logout();
  enter(State::leaving, now_ms);
}

// ---- going on where an earlier job was ----

/// Samples of what the checkpoint says are read back before any of it is believed: the disk may be another, or was written since.
void Target::begin_resume(std::uint64_t now_ms) {
  if (resuming_ && request_.resume->image != plan_.image) refuse_resume("image");
  if (resuming_ && request_.resume->disk != disk_->identity()) refuse_resume("disk");
  if (resuming_ && !is_sound(*request_.resume, plan_.virtual_size, disk_->capacity.block_size)) refuse_resume("malformed");
  if (!resuming_ || request_.resume->samples.empty()) return end_resume(now_ms);
  read_back_.begin(request_.resume->samples);
  enter(State::checking, now_ms);
}

void Target::refuse_resume(const char* why) {
  resuming_ = false;
  resume_refused_ = why;
}

void Target::end_resume(std::uint64_t now_ms) {
  if (resuming_) {
    writer_.adopt(request_.resume->extents);
    resumed_ = writer_.done().total();
    checkpointer_.adopt(request_.resume->samples);
  }
  request_.resume.reset();
  resume_to_ = State::streaming;
  enter(started_ ? State::streaming : State::ready, now_ms);
  after_streaming(now_ms);
}

void Target::begin_checkpoint(std::uint64_t now_ms) {
  checkpointer_.begin(plan_.image, disk_->identity(), writer_.done(), now_ms);
  give({.kind = WorkKind::checkpoint}, now_ms);
}

void Target::take_sample(const Work& work) {
  const auto length = static_cast<std::uint32_t>(std::min({work.length, std::uint64_t{kSampleBytes}, plan_.virtual_size - work.offset}));
  if (const auto checksum = work.block->checksum_of(work.offset, length)) checkpointer_.add_sample({work.offset, length, *checksum});
}

// ---- writing ----

void Target::start_streaming() {
  started_ = true;
  if (state_ == State::ready) state_ = State::streaming;
}

void Target::fill_streaming(std::uint64_t now_ms) {
  writer_.set_busy();
  // Before the writes, which take all the room there is.
  if (request_.checkpoints && checkpointer_.due(now_ms) && writer_.written() + writer_.skipped() > 0 && session()->room() > 0) begin_checkpoint(now_ms);
  while (session()->room() > 0 && window_open()) {
    const auto skipped = writer_.skipped();
    auto work = writer_.next();
    if (writer_.skipped() != skipped) progress_ms_ = now_ms;
    if (writer_.source_fault()) source_fault_ = writer_.source_fault();
    if (writer_.disk_fault()) return fail(*writer_.disk_fault());
    if (!work) break;
    give(std::move(*work), now_ms);
  }
  after_streaming(now_ms);
}

void Target::after_streaming(std::uint64_t now_ms) {
  if (state_ != State::streaming || !quiet() || !has_everything()) return;
  enter(State::syncing, now_ms);
  give({.kind = WorkKind::synchronize}, now_ms);
}

void Target::after_synchronizing(std::uint64_t now_ms) {
  if (plan_.verify == Verify::read_back && !plan_.records->empty()) {
    read_back_.begin(*plan_.records);
    return enter(State::verifying, now_ms);
  }
  session()->logout();
  enter(State::leaving, now_ms);
}

void Target::fill_reading(std::uint64_t now_ms) {
  while (session()->room() > 0 && !read_back_.all_given() && window_open()) {
    const auto number = read_back_.give();
    const auto& record = read_back_.record(number);
    give({.kind = WorkKind::read, .offset = record.offset, .length = disk_->round_up(record.length), .record = number}, now_ms);
  }
}

// ---- what is known ----

TargetProgress Target::progress() const {
  const auto stage = [&] {
    switch (state_) {
      case State::waiting: return disk_ ? "reconnecting" : "connecting";
      case State::connecting: return disk_ ? "reconnecting" : "connecting";
      case State::probing: return "probing";
      case State::checking: return "checking";
      case State::ready: return "ready";
      case State::streaming: return "writing";
      case State::syncing: return "synchronizing";
      case State::verifying: return "verifying";
      case State::leaving: return "leaving";
      case State::finished: return "finished";
      case State::failed: return "failed";
    }
    return "";
  };
  return {writer_.written(), writer_.skipped(), resumed_, verified_, stage(), checkpointer_.latest(), nullptr};
}

TargetResult Target::result() const {
  if (fault_) return std::unexpected(*fault_);
  TargetSuccess success;
  success.bytes = writer_.written();
  success.skipped = writer_.skipped();
  success.resumed = resumed_;
  success.resume_refused = resume_refused_;
  success.seconds = static_cast<double>(ended_ms_ - begun_ms_) / 1000;
  if (plan_.verify == Verify::read_back) {
    auto records = *plan_.records;  // segments of a compressed image are unpacked side by side
    std::ranges::sort(records, {}, &Record::offset);
    std::uint32_t digest = 0;
    for (const auto& record : records) digest = crc32c_combine(digest, record.checksum, record.length);
    char text[24];
    std::snprintf(text, sizeof text, "crc32c:%08x", digest);
    success.digest = text;
  }
  return success;
}

}  // namespace ironrack::pipeline
