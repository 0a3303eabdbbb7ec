#include "pipeline/target.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>

#include "bytes/crc32c.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kConnectMs = 5000;
constexpr std::uint64_t kLoginMs = 15000;
constexpr std::uint64_t kSilenceMs = 10000;       // after which the target is pinged
constexpr std::uint64_t kPingMs = 20000;          // within which it has to say something, be it the answer or another
constexpr std::uint64_t kCommandMs = 120000;      // for one command of a target that does answer pings
constexpr std::uint64_t kFirstContactMs = 10000;  // for a target to appear
constexpr std::uint64_t kComeBackMs = 30000;      // for a lost target to appear again, or a busy one to take something
constexpr std::uint64_t kLogoutMs = 2000;
constexpr std::uint64_t kFirstBackoffMs = 100;
constexpr std::uint64_t kMostBackoffMs = 2000;
constexpr int kMostAttempts = 10;
constexpr int kMostRedirects = 4;
constexpr int kTurns = 32;                  // of filling and sending before others get their turn
constexpr std::uint32_t kShortPdu = 32768;  // a target that takes only shorter ones gets file bytes from a mapping

alignas(4096) constinit const std::array<std::byte, kCommandBytes> kZeros{};

Fault timeout(const char* code, const char* message) { return Fault{FaultKind::timeout, code, message, Retry::later, {}}; }

std::vector<std::byte> random_bytes(std::size_t count) {
  std::random_device device;
  std::vector<std::byte> bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::byte>(device());
  return bytes;
}

}  // namespace

Target::Target(TargetRequest request, const TargetPlan& plan, iscsi::Isid isid, std::uint64_t now_ms)
    : request_(std::move(request)),
      plan_(plan),
      isid_(isid),
      address_(request_.address),
      port_(request_.port),
      begun_ms_(now_ms),
      progress_ms_(now_ms),
      state_since_ms_(now_ms),
      backoff_ms_(kFirstBackoffMs) {}

// ---- the connection ----

void Target::enter(State state, std::uint64_t now_ms) {
  state_ = state;
  state_since_ms_ = now_ms;
}

void Target::connect(std::uint64_t now_ms) {
  iscsi::LoginConfig config;
  config.initiator_name = request_.initiator_iqn;
  config.target_name = request_.iqn;
  config.chap = request_.chap;
  config.isid = isid_;
  config.offer.header_digest = request_.header_digest;
  config.offer.data_digest = request_.data_digest;
  if (md5_only_) config.algorithms = {iscsi::ChapAlgorithm::md5};
  if (config.chap && config.chap->target) {
    config.mutual_challenge = random_bytes(32);
    config.mutual_identifier = static_cast<std::uint8_t>(random_bytes(1)[0]);
  }
  auto link = iscsi::Link::open(address_, port_, request_.lun, std::move(config));
  if (!link) return lose(std::move(link.error()), now_ms);
  link_ = std::move(*link);
  socket_number_++;
  enter(State::connecting, now_ms);
}

void Target::fail(Fault fault) {
  link_.reset();
  works_.clear();
  free_slots_.clear();
  retries_.clear();
  current_.reset();
  zero_run_.reset();
  zero_backlog_.clear();
  inflight_ = 0;
  inflight_bytes_ = 0;
  fault_ = std::move(fault);
  state_ = State::failed;
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
  if (link_ && link_->redirect() && fault.code == "iscsi.redirected") {
    if (++redirects_ > kMostRedirects) return fail(Fault{FaultKind::protocol, "iscsi.redirect-loop", "the target redirects again and again", Retry::never, {}});
    address_ = link_->redirect()->address;
    port_ = link_->redirect()->port;
  }
  const bool turned_down = fault.code == "iscsi.authentication-failed" || fault.code == "iscsi.login-initiator-error";
  if (turned_down && link_ && link_->used_newer_chap() && !md5_only_) {
    // Older targets (tgtd 1.0.85: 7 is SHA-1) give other meanings to the numbers of the newer CHAP algorithms: only MD5 is the same everywhere.
    md5_only_ = true;
    refusal_ = fault;
    fault.retry = Retry::later;
  } else if (refusal_ && link_ && link_->phase() == iscsi::Link::Phase::login) {
    return fail(fault.retry == Retry::never ? std::move(fault) : *refusal_);  // nor does it want MD5
  }
  link_.reset();
  idle_ = false;
  if (fault.retry == Retry::never) return fail(std::move(fault));
  const auto patience = disk_ ? kComeBackMs : kFirstContactMs;
  if (now_ms - progress_ms_ >= patience) return fail(std::move(fault));

  // Writes may be repeated: what was on the way is sent again. The new login reinstates the session (same ISID), which
  // ends the old connection's tasks, so none of them can come in late.
  for (std::uint32_t slot = 0; slot < works_.size(); slot++) {
    auto& work = works_[slot];
    if (!work.inflight) continue;
    work.inflight = false;
    work.read_so_far = 0;
    if (work.kind == WorkKind::probe) free_slots_.push_back(slot);
    else retries_.push_back(slot);
  }
  inflight_ = 0;
  inflight_bytes_ = 0;
  std::ranges::sort(retries_, {}, [&](std::uint32_t slot) { return works_[slot].offset; });
  if (state_ == State::streaming || state_ == State::syncing || state_ == State::verifying) resume_to_ = state_;
  last_trouble_ = std::move(fault);
  retry_at_ms_ = now_ms + backoff_ms_;
  backoff_ms_ = std::min(backoff_ms_ * 2, kMostBackoffMs);
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
      if (state_ == State::verifying) fill_verifying(now_ms);
      if (!link_) return;
    }
    if (auto flushed = link_->flush(); !flushed) return lose(std::move(flushed.error()), now_ms);
    take_completions(now_ms);
    if (session() == nullptr) return;
    if (state_ == State::leaving && session()->logged_out()) return finish(now_ms);
    if (session()->asked_to_leave() && inflight_ == 0) {
      return lose(Fault{FaultKind::unreachable, "iscsi.target-leaves", "the target asked for the session to end", Retry::later, {}}, now_ms);
    }
    if (link_->send_blocked() || activity_ == before) return;
  }
  // Others first; the loop comes back at once.
  plan_.carousel->want_notice();
  plan_.carousel->notify();
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
  auto* session = this->session();
  if (session == nullptr) return;
  const auto oldest = session->oldest_ms();
  const auto pinged = session->pinged_ms();
  if (pinged && now_ms - std::max(*pinged, session->heard_ms()) >= kPingMs) return lose(timeout("iscsi.silent", "the target does not answer"), now_ms);
  if (oldest && now_ms - *oldest >= kCommandMs) return lose(timeout("iscsi.command-timeout", "the target does not end a command"), now_ms);
  if (!quiet() && now_ms - progress_ms_ >= kCommandMs + kComeBackMs) {
    return fail(last_trouble_ ? *last_trouble_ : timeout("iscsi.no-progress", "the target takes no data"));
  }
  if (!pinged && now_ms - session->heard_ms() >= kSilenceMs) session->ping(now_ms);
  pump(now_ms);
}

// ---- commands ----

void Target::give(Work work, std::uint64_t now_ms) {
  std::uint32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<std::uint32_t>(works_.size());
    works_.push_back(std::move(work));
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
    works_[slot] = std::move(work);
  }
  submit(slot, now_ms);
}

void Target::submit_retries(std::uint64_t now_ms) {
  // After a reconnect the disk is looked at again before anything is written to it.
  const bool probing = state_ == State::probing;
  for (std::size_t i = 0; i < retries_.size() && session()->room() > 0;) {
    const auto slot = retries_[i];
    if (works_[slot].not_before_ms > now_ms || (probing && works_[slot].kind != WorkKind::probe)) {
      i++;
      continue;
    }
    retries_.erase(retries_.begin() + static_cast<std::ptrdiff_t>(i));
    submit(slot, now_ms);
  }
}

void Target::submit(std::uint32_t slot, std::uint64_t now_ms) {
  auto& work = works_[slot];
  auto command = command_for(work);
  command.cookie = slot;
  work.inflight = true;
  activity_++;
  inflight_++;
  inflight_bytes_ += work.length;
  session()->submit(command, now_ms);
}

iscsi::Command Target::command_for(Work& work) {
  iscsi::Command command;
  if (work.kind == WorkKind::probe) {
    const auto question = probe_.question();
    work.room.assign(question.room, std::byte{0});
    command.cdb = question.cdb;
    command.in = work.room;
    return command;
  }
  const auto block_size = disk_->capacity.block_size;
  const auto lba = work.offset / block_size;
  const auto blocks = static_cast<std::uint32_t>(work.length / block_size);
  switch (work.kind) {
    case WorkKind::probe: break;
    case WorkKind::write:
      command.cdb = iscsi::write_16(lba, blocks);
      command.out.begin = static_cast<std::uint32_t>(work.offset - work.block->offset);
      command.out.length = static_cast<std::uint32_t>(work.length);
      if (work.block->kind == BlockKind::memory) {
        command.out.memory = work.block->memory;
        command.out.file = work.block->pool->file();
        command.out.memory_in_file = work.block->pool->file_offset(work.block->memory);
      } else {
        if (session()->max_segment() < kShortPdu) work.block->map();
        command.out.file = work.block->file;
        command.out.parts = work.block->parts;
      }
      command.out.piece_checksums = work.block->piece_checksums;
      return command;
    case WorkKind::write_zeroes:
      command.cdb = iscsi::write_16(lba, blocks);
      command.out.memory = kZeros.data();
      command.out.length = static_cast<std::uint32_t>(work.length);
      return command;
    case WorkKind::write_same:
      command.cdb = iscsi::write_same_16(lba, blocks, zero_method_ == ZeroMethod::write_same_unmap);
      command.out.memory = kZeros.data();
      command.out.length = block_size;
      return command;
    case WorkKind::unmap:
      work.owned = iscsi::unmap_parameters(lba, blocks);
      command.cdb = iscsi::unmap(static_cast<std::uint16_t>(work.owned.size()));
      command.out.memory = work.owned.data();
      command.out.length = static_cast<std::uint32_t>(work.owned.size());
      return command;
    case WorkKind::synchronize:
      command.cdb = short_synchronize_ ? iscsi::synchronize_cache_10() : iscsi::synchronize_cache_16();
      return command;
    case WorkKind::read: {
      // A record may be longer than the device's longest command: then it is read in turns.
      work.room.resize(work.length);
      const auto piece = std::min<std::uint64_t>(command_bytes(), work.length - work.read_so_far);
      command.cdb = iscsi::read_16((work.offset + work.read_so_far) / block_size, static_cast<std::uint32_t>(piece / block_size));
      command.in = std::span(work.room).subspan(work.read_so_far, piece);
      return command;
    }
  }
  return command;
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
  auto& work = works_[slot];
  work.inflight = false;
  activity_++;
  inflight_--;
  inflight_bytes_ -= work.length;

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
      backoff_ms_ = kFirstBackoffMs;
      break;
    case OutcomeKind::refused:
      if (!may_be_refused) return fail(fault());
      break;
    case OutcomeKind::fatal: return fail(fault());
    case OutcomeKind::retry:
    case OutcomeKind::wait:
      if (outcome.kind == OutcomeKind::retry && ++work.attempts >= kMostAttempts) return fail(fault());
      if (now_ms - progress_ms_ >= kComeBackMs) return fail(fault());
      last_trouble_ = fault();
      work.not_before_ms = now_ms + outcome.pause_ms;
      retries_.push_back(slot);
      return;
  }
  Work ended = std::move(work);
  work = Work{};
  free_slots_.push_back(slot);
  on_end(std::move(ended), completion, outcome.kind == OutcomeKind::good, now_ms);
}

void Target::on_end(Work work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms) {
  switch (work.kind) {
    case WorkKind::probe: return on_probe(work, completion, good, now_ms);
    case WorkKind::read: return on_read(std::move(work), completion, now_ms);
    case WorkKind::write: note_done(work.offset, work.length, written_); break;
    case WorkKind::write_zeroes: note_done(work.offset, work.length, skipped_); break;
    case WorkKind::write_same:
    case WorkKind::unmap:
      if (good) {
        note_done(work.offset, work.length, skipped_);
        break;
      }
      zero_method_ = simpler_zero_method(zero_method_);
      zero_backlog_.push_back({work.offset, work.offset + work.length});
      break;
    case WorkKind::synchronize:
      if (!good && !short_synchronize_) {
        short_synchronize_ = true;
        return give({.kind = WorkKind::synchronize}, now_ms);
      }
      // A device that knows neither form has no cache to write back.
      if (plan_.verify == Verify::read_back && !plan_.records->empty()) {
        next_record_ = 0;
        records_left_ = plan_.records->size();
        return enter(State::verifying, now_ms);
      }
      session()->logout();
      return enter(State::leaving, now_ms);
  }
  after_streaming(now_ms);
}

void Target::on_probe(const Work& work, const iscsi::Completion& completion, bool good, std::uint64_t now_ms) {
  const auto data = ByteSpan(work.room).first(std::min<std::size_t>(completion.received, work.room.size()));
  if (auto answered = probe_.answer(good, data, scsi_fault(completion, 0)); !answered) return fail(std::move(answered.error()));
  if (!probe_.over()) return give({.kind = WorkKind::probe}, now_ms);

  const auto& found = probe_.disk();
  if (found.size() < plan_.virtual_size) {
    return fail(Fault{FaultKind::invalid, "disk.too-small", "the disk is smaller than the image", Retry::never, {}}.with("disk_bytes", found.size()).with("image_bytes", plan_.virtual_size));
  }
  if (disk_ && (found.capacity.blocks != disk_->capacity.blocks || found.capacity.block_size != disk_->capacity.block_size)) {
    return fail(Fault{FaultKind::conflict, "disk.changed", "the disk changed its size while it was written", Retry::never, {}});
  }
  if (!disk_) {
    disk_ = found;
    zero_method_ = choose_zero_method(found, plan_.policy);
  }
  progress_ms_ = now_ms;
  enter(started_ ? resume_to_ : State::ready, now_ms);
  after_streaming(now_ms);
}

void Target::on_read(Work work, const iscsi::Completion& completion, std::uint64_t now_ms) {
  if (completion.received == 0) return fail(Fault{FaultKind::storage, "scsi.short-read", "the target returns fewer bytes than it was asked for", Retry::never, {}});
  work.read_so_far += completion.received;
  if (work.read_so_far < work.length) return give(std::move(work), now_ms);
  const auto& record = (*plan_.records)[work.record];
  if (crc32c(0, ByteSpan(work.room).first(record.length)) != record.checksum) {
    return fail(Fault{FaultKind::storage, "verify.mismatch", "the disk returns other bytes than were written", Retry::never, {}}
                    .with("offset", record.offset)
                    .with("length", std::uint64_t{record.length})
                    .with("lba", record.offset / disk_->capacity.block_size));
  }
  verified_ += record.length;
  if (--records_left_ > 0) return;
  session()->logout();
  enter(State::leaving, now_ms);
}

// ---- writing ----

void Target::start_streaming() {
  started_ = true;
  if (state_ == State::ready) state_ = State::streaming;
}

std::uint32_t Target::command_bytes() const {
  if (disk_->limits.maximum_transfer_blocks == 0) return kCommandBytes;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(kCommandBytes, std::uint64_t{disk_->limits.maximum_transfer_blocks} * disk_->capacity.block_size));
}

void Target::note_done(std::uint64_t offset, std::uint64_t length, std::uint64_t& counter) {
  const auto end = std::min(offset + length, plan_.virtual_size);
  if (end > offset && !done_.contains(offset, end)) counter += end - offset;
  done_.add(offset, end);
}

void Target::fill_streaming(std::uint64_t now_ms) {
  idle_ = false;
  while (session()->room() > 0 && window_open()) {
    if (!zero_run_ && !zero_backlog_.empty()) {
      zero_run_ = zero_backlog_.back();
      zero_backlog_.pop_back();
    }
    if (zero_run_) give_zeroes(now_ms);
    else if (current_) give_part_of_block(now_ms);
    else if (!take_block(now_ms)) break;
  }
  after_streaming(now_ms);
}

/// False when there is no block to take now.
bool Target::take_block(std::uint64_t now_ms) {
  plan_.carousel->want_notice();  // before looking, so that nothing slips between
  auto block = plan_.carousel->at(cursor_);
  const auto state = block ? block->state.load(std::memory_order_acquire) : BlockState::pending;
  if (state == BlockState::pending) {
    idle_ = true;
    return false;
  }
  if (state == BlockState::failed) {
    source_fault_ = block->fault;
    return false;
  }
  cursor_++;
  if (block->kind != BlockKind::zero) {
    current_at_ = block->offset;
    current_ = std::move(block);
  } else if (plan_.policy == HolePolicy::disk_is_blank) {
    note_done(block->offset, block->length, skipped_);
    progress_ms_ = now_ms;
  } else {
    zero_run_ = Interval{block->offset, block->offset + block->length};
  }
  return true;
}

void Target::give_part_of_block(std::uint64_t now_ms) {
  const auto end = current_->offset + current_->length;
  const auto gap = done_.first_gap(current_at_, end);
  if (gap.begin >= gap.end) {
    current_.reset();
    return;
  }
  const auto length = std::min<std::uint64_t>(gap.end - gap.begin, command_bytes());
  current_at_ = gap.begin + length;
  give({.kind = WorkKind::write, .offset = gap.begin, .length = disk_->round_up(length), .block = current_}, now_ms);
}

void Target::give_zeroes(std::uint64_t now_ms) {
  auto& run = *zero_run_;
  // Nothing behind the image's end is ever noted as done, though the last block reaches beyond it.
  const auto gap = done_.first_gap(run.begin, std::min(run.end, plan_.virtual_size));
  if (gap.begin >= gap.end) {
    zero_run_.reset();
    return;
  }
  const auto step = first_zero_step(*disk_, zero_method_, {gap.begin, disk_->round_up(gap.end)}, command_bytes());
  run.begin = gap.begin + step.length;
  const auto kind = step.method == ZeroMethod::write ? WorkKind::write_zeroes : step.method == ZeroMethod::unmap ? WorkKind::unmap : WorkKind::write_same;
  give({.kind = kind, .offset = gap.begin, .length = step.length}, now_ms);
}

void Target::after_streaming(std::uint64_t now_ms) {
  if (state_ != State::streaming || !quiet() || !has_everything()) return;
  enter(State::syncing, now_ms);
  give({.kind = WorkKind::synchronize}, now_ms);
}

void Target::fill_verifying(std::uint64_t now_ms) {
  while (session()->room() > 0 && next_record_ < plan_.records->size() && window_open()) {
    const auto& record = (*plan_.records)[next_record_];
    give({.kind = WorkKind::read, .offset = record.offset, .length = disk_->round_up(record.length), .record = next_record_}, now_ms);
    next_record_++;
  }
}

// ---- what is known ----

TargetProgress Target::progress() const {
  const auto stage = [&] {
    switch (state_) {
      case State::waiting: return disk_ ? "reconnecting" : "connecting";
      case State::connecting: return disk_ ? "reconnecting" : "connecting";
      case State::probing: return "probing";
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
  return {written_, skipped_, verified_, stage()};
}

TargetResult Target::result() const {
  if (fault_) return std::unexpected(*fault_);
  TargetSuccess success;
  success.bytes = written_;
  success.skipped = skipped_;
  success.seconds = static_cast<double>(ended_ms_ - begun_ms_) / 1000;
  if (plan_.verify == Verify::read_back) {
    std::uint32_t digest = 0;
    for (const auto& record : *plan_.records) digest = crc32c_combine(digest, record.checksum, record.length);
    char text[24];
    std::snprintf(text, sizeof text, "crc32c:%08x", digest);
    success.digest = text;
  }
  return success;
}

}  // namespace ironrack::pipeline
