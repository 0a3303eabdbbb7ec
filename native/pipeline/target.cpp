#include "pipeline/target.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>

#include "bytes/crc32c.hpp"

namespace ironrack::pipeline {
namespace {

using iscsi::ScsiStatus;
using iscsi::SenseKey;

constexpr std::uint64_t kConnectMs = 5000;
constexpr std::uint64_t kLoginMs = 15000;
constexpr std::uint64_t kSilenceMs = 10000;       // after which the target is pinged
constexpr std::uint64_t kPingMs = 20000;          // within which it has to say something, be it the answer or another
constexpr std::uint64_t kCommandMs = 120000;      // for one command of a target that does answer pings
constexpr std::uint64_t kFirstContactMs = 10000;  // for a target to appear
constexpr std::uint64_t kComeBackMs = 30000;      // for a lost target to appear again, or a busy one to take something
constexpr std::uint64_t kLogoutMs = 2000;
constexpr std::uint64_t kMostBackoffMs = 2000;
constexpr std::uint64_t kBusyMs = 50;
constexpr std::uint64_t kNotReadyMs = 500;
constexpr int kMostAttempts = 10;
constexpr int kMostRedirects = 4;
constexpr int kTurns = 32;                          // of filling and sending before others get their turn
constexpr std::uint64_t kMostZeroBytes = 32 << 20;  // of zeroes by one command: seconds on a slow disk, not minutes
constexpr std::uint32_t kShortPdu = 32768;          // a target that takes only shorter ones gets file bytes from a mapping
constexpr std::size_t kVectors = 512;
constexpr std::uint16_t kProbeBytes = 252;

alignas(4096) constinit const std::array<std::byte, kCommandBytes> kZeros{};

Fault timeout(const char* code, const char* message) { return Fault{FaultKind::timeout, code, message, Retry::later, {}}; }

std::vector<std::byte> random_bytes(std::size_t count) {
  std::random_device device;
  std::vector<std::byte> bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::byte>(device());
  return bytes;
}

}  // namespace

Target::~Target() { drop_connection(); }

Target::Target(TargetRequest request, const TargetPlan& plan, iscsi::Isid isid, std::uint64_t now_ms)
    : request_(std::move(request)), plan_(plan), isid_(isid), address_(request_.address), port_(request_.port), begun_ms_(now_ms), progress_ms_(now_ms), state_since_ms_(now_ms) {}

// ---- connection ----

void Target::enter(State state, std::uint64_t now_ms) {
  state_ = state;
  state_since_ms_ = now_ms;
}

void Target::begin(std::uint64_t now_ms) { connect(now_ms); }

void Target::connect(std::uint64_t now_ms) {
  auto socket = iscsi::Socket::connect(address_, port_);
  if (!socket) return lose(std::move(socket.error()), now_ms);
  socket_.emplace(std::move(*socket));
  socket_number_++;
  send_blocked_ = true;
  enter(State::connecting, now_ms);
}

void Target::drop_connection() {
  if (socket_ && state_ != State::leaving) socket_->drop_unsent();
  session_.reset();
  login_.reset();
  framer_.reset();
  socket_.reset();
  login_output_.clear();
  idle_ = false;
}

void Target::fail(Fault fault) {
  drop_connection();
  for (auto& job : jobs_) job = Job{};
  retries_.clear();
  current_.reset();
  zero_run_.reset();
  zero_backlog_.clear();
  inflight_ = 0;
  inflight_bytes_ = 0;
  fault_ = std::move(fault);
  state_ = State::failed;
}

void Target::abandon(Fault fault) {
  if (!over()) fail(std::move(fault));
}

void Target::lose(Fault fault, std::uint64_t now_ms) {
  if (state_ == State::leaving) {
    // Everything was synchronized; a target that hangs up without a logout response has lost nothing.
    drop_connection();
    ended_ms_ = now_ms;
    return enter(State::finished, now_ms);
  }
  drop_connection();
  if (fault.code == "image.truncated" || fault.code == "image.read") {
    source_fault_ = fault;
    return fail(std::move(fault));
  }
  if (fault.retry == Retry::never) return fail(std::move(fault));
  if (state_ == State::login && md5_only_ && refusal_ && fault.code != refusal_->code) return fail(*refusal_);
  // Writes may be repeated: what was on the way is sent again. The new login reinstates the session (same ISID), which
  // ends the old connection's tasks, so none of them can come in late.
  for (std::uint32_t slot = 0; slot < jobs_.size(); slot++) {
    auto& job = jobs_[slot];
    if (!job.inflight) continue;
    job.inflight = false;
    inflight_--;
    inflight_bytes_ -= job.length;
    if (job.work == Work::probe) release_slot(slot);
    else retries_.push_back(slot);
  }
  std::ranges::sort(retries_, {}, [&](std::uint32_t slot) { return jobs_[slot].offset; });
  const auto patience = probed_ ? kComeBackMs : kFirstContactMs;
  if (now_ms - progress_ms_ >= patience) return fail(std::move(fault));
  if (state_ == State::streaming || state_ == State::syncing || state_ == State::verifying) resume_to_ = state_;
  last_loss_ = std::move(fault);
  retry_at_ms_ = now_ms + backoff_ms_;
  backoff_ms_ = std::min(backoff_ms_ * 2, kMostBackoffMs);
  enter(State::waiting, now_ms);
}

bool Target::wants_to_write() const { return send_blocked_ || state_ == State::connecting; }

void Target::on_socket(std::uint32_t events, std::uint64_t now_ms) {
  if (!socket_) return;
  if (state_ == State::connecting) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    if (auto connected = socket_->connected(); !connected) return lose(std::move(connected.error()), now_ms);
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
    framer_.emplace(config.offer.max_recv_data_segment_length);
    login_.emplace(std::move(config));
    enter(State::login, now_ms);
    auto first = login_->start();
    login_output_.assign(first.header.begin(), first.header.end());
    login_output_.insert(login_output_.end(), first.data.begin(), first.data.end());
    login_output_.resize((login_output_.size() + 3) & ~std::size_t{3});
  }
  if ((events & EPOLLOUT) != 0) send_blocked_ = false;
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
    if (auto received = receive_all(now_ms); !received) return lose(std::move(received.error()), now_ms);
  }
  pump(now_ms);
}

Result<void> Target::receive_all(std::uint64_t now_ms) {
  for (int turn = 0; turn < kTurns && socket_ && framer_; turn++) {
    const auto room = framer_->room();
    const auto count = socket_->receive(room);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) return {};
    framer_->received(*count);
    while (framer_) {
      auto frame = framer_->next();
      if (!frame) return std::unexpected(std::move(frame.error()));
      if (!*frame) break;
      if (auto handled = on_frame(**frame, now_ms); !handled) return handled;
    }
    take_completions(now_ms);
    if (*count < room.size()) return {};
  }
  return {};
}

Result<void> Target::on_frame(const iscsi::Frame& frame, std::uint64_t now_ms) {
  if (session_) return session_->receive(frame, now_ms);
  auto pdu = iscsi::decode_target_pdu(frame.header);
  if (!pdu) return std::unexpected(std::move(pdu.error()));
  const auto* response = std::get_if<iscsi::LoginResponse>(&*pdu);
  if (response == nullptr || !login_) return ironrack::fail(FaultKind::protocol, "iscsi.login-protocol", "the target sends something else than a login response during login");
  auto step = login_->advance(*response, frame.data);
  if (!step) {
    const bool turned_down = step.error().code == "iscsi.authentication-failed" || step.error().code == "iscsi.login-initiator-error";
    if (turned_down && login_->used_newer_algorithm() && !md5_only_) {
      // Older targets (tgtd 1.0.85: 7 is SHA-1) give other meanings to the numbers of the newer CHAP algorithms: only MD5 is the same everywhere.
      md5_only_ = true;
      refusal_ = step.error();
      step.error().retry = Retry::later;
    }
    return std::unexpected(std::move(step.error()));
  }
  if (const auto* more = std::get_if<iscsi::LoginSend>(&*step)) {
    login_output_.insert(login_output_.end(), more->header.begin(), more->header.end());
    login_output_.insert(login_output_.end(), more->data.begin(), more->data.end());
    login_output_.resize((login_output_.size() + 3) & ~std::size_t{3});
    return {};
  }
  if (const auto* redirect = std::get_if<iscsi::LoginRedirect>(&*step)) {
    if (++redirects_ > kMostRedirects) return ironrack::fail(FaultKind::protocol, "iscsi.redirect-loop", "the target redirects again and again");
    address_ = redirect->address;
    port_ = redirect->port;
    return ironrack::fail(FaultKind::unreachable, "iscsi.redirected", "the target lives elsewhere", Retry::later);
  }
  const auto& negotiated = std::get<iscsi::LoginDone>(*step).negotiated;
  framer_->use_digests(negotiated.header_digest, negotiated.data_digest);
  session_.emplace(negotiated, request_.lun, now_ms);
  login_.reset();
  probe_ = Probe::test_unit_ready;
  enter(State::probing, now_ms);
  probe_next(now_ms);
  return {};
}

Result<void> Target::flush(std::uint64_t now_ms) {
  if (!socket_ || send_blocked_ || state_ == State::connecting) return {};
  while (!login_output_.empty()) {
    const auto count = socket_->send(login_output_);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) {
      send_blocked_ = true;
      return {};
    }
    login_output_.erase(login_output_.begin(), login_output_.begin() + static_cast<std::ptrdiff_t>(*count));
  }
  std::array<iovec, kVectors> vectors;
  while (session_ && session_->has_output()) {
    const auto burst = session_->next_burst(vectors);
    const auto count = socket_->send(burst, vectors);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) {
      send_blocked_ = true;
      return {};
    }
    session_->sent(*count);
  }
  (void)now_ms;
  return {};
}

void Target::take_completions(std::uint64_t now_ms) {
  if (!session_) return;
  for (const auto& completion : session_->take_completions()) {
    on_completion(completion, now_ms);
    if (!session_) return;
  }
}

void Target::pump(std::uint64_t now_ms) {
  for (int turn = 0; turn < kTurns; turn++) {
    const auto before = activity_;
    if (session_) {
      submit_retries(now_ms);
      if (state_ == State::streaming) fill_streaming(now_ms);
      if (state_ == State::verifying) fill_verifying(now_ms);
    }
    if (auto flushed = flush(now_ms); !flushed) return lose(std::move(flushed.error()), now_ms);
    take_completions(now_ms);
    if (session_ && (session_->asked_to_leave() && inflight_ == 0)) {
      return lose(Fault{FaultKind::unreachable, "iscsi.target-leaves", "the target asked for the session to end", Retry::later, {}}, now_ms);
    }
    if (state_ == State::leaving && session_ && session_->logged_out()) {
      drop_connection();
      ended_ms_ = now_ms;
      return enter(State::finished, now_ms);
    }
    if (!session_ || send_blocked_ || activity_ == before) return;
  }
  // Others first; the loop comes back at once.
  if (plan_.carousel != nullptr) {
    plan_.carousel->want_notice();
    plan_.carousel->notify();
  }
}

void Target::on_tick(std::uint64_t now_ms) {
  switch (state_) {
    case State::waiting:
      if (now_ms >= retry_at_ms_) connect(now_ms);
      return;
    case State::connecting:
      if (now_ms - state_since_ms_ >= kConnectMs) lose(timeout("iscsi.connect-timeout", "the target does not answer"), now_ms);
      return;
    case State::login:
      if (now_ms - state_since_ms_ >= kLoginMs) lose(timeout("iscsi.login-timeout", "the target does not answer the login"), now_ms);
      return;
    case State::leaving:
      if (now_ms - state_since_ms_ >= kLogoutMs) lose(timeout("iscsi.logout-timeout", "the target does not answer the logout"), now_ms);
      return;
    case State::finished:
    case State::failed: return;
    case State::probing:
    case State::ready:
    case State::streaming:
    case State::syncing:
    case State::verifying: break;
  }
  if (!session_) return;
  const auto oldest = session_->oldest_ms();
  const auto pinged = session_->pinged_ms();
  if (pinged && now_ms - std::max(*pinged, session_->heard_ms()) >= kPingMs) return lose(timeout("iscsi.silent", "the target does not answer"), now_ms);
  if (oldest && now_ms - *oldest >= kCommandMs) return lose(timeout("iscsi.command-timeout", "the target does not end a command"), now_ms);
  if ((!retries_.empty() || inflight_ > 0) && now_ms - progress_ms_ >= kCommandMs + kComeBackMs) {
    return fail(last_loss_ ? *last_loss_ : timeout("iscsi.no-progress", "the target takes no data"));
  }
  if (!pinged && now_ms - session_->heard_ms() >= kSilenceMs) session_->ping(now_ms);
  pump(now_ms);
}

// ---- commands ----

std::uint32_t Target::take_slot(Job job) {
  if (free_slots_.empty()) {
    jobs_.push_back(std::move(job));
    return static_cast<std::uint32_t>(jobs_.size() - 1);
  }
  const auto slot = free_slots_.back();
  free_slots_.pop_back();
  jobs_[slot] = std::move(job);
  return slot;
}

void Target::release_slot(std::uint32_t slot) {
  jobs_[slot] = Job{};
  free_slots_.push_back(slot);
}

void Target::issue(Job job, std::uint64_t now_ms) { submit(take_slot(std::move(job)), now_ms); }

void Target::again(std::uint32_t slot, std::uint64_t at_ms) {
  jobs_[slot].not_before_ms = at_ms;
  retries_.push_back(slot);
}

void Target::submit_retries(std::uint64_t now_ms) {
  // After a reconnect the disk is looked at again before anything is written to it.
  const bool probing = state_ == State::probing;
  for (std::size_t i = 0; i < retries_.size() && session_->room() > 0;) {
    const auto slot = retries_[i];
    const auto& job = jobs_[slot];
    if (job.not_before_ms > now_ms || (probing && job.work != Work::probe)) {
      i++;
      continue;
    }
    retries_.erase(retries_.begin() + static_cast<std::ptrdiff_t>(i));
    submit(slot, now_ms);
  }
}

void Target::submit(std::uint32_t slot, std::uint64_t now_ms) {
  auto& job = jobs_[slot];
  const auto lba = capacity_.block_size == 0 ? 0 : job.offset / capacity_.block_size;
  const auto blocks = capacity_.block_size == 0 ? 0 : static_cast<std::uint32_t>(job.length / capacity_.block_size);
  iscsi::Command command;
  command.cookie = slot;
  const auto send_owned = [&] {
    command.out.memory = job.owned.data();
    command.out.length = static_cast<std::uint32_t>(job.owned.size());
  };
  switch (job.work) {
    case Work::none: return;
    case Work::probe:
      job.room.assign(kProbeBytes, std::byte{0});
      command.in = job.room;
      switch (probe_) {
        case Probe::test_unit_ready:
          command.cdb = iscsi::test_unit_ready();
          command.in = {};
          break;
        case Probe::inquiry: command.cdb = iscsi::inquiry(kProbeBytes); break;
        case Probe::pages: command.cdb = iscsi::inquiry_page(0x00, kProbeBytes); break;
        case Probe::limits: command.cdb = iscsi::inquiry_page(0xb0, kProbeBytes); break;
        case Probe::provisioning: command.cdb = iscsi::inquiry_page(0xb2, kProbeBytes); break;
        case Probe::capacity_16:
          job.room.resize(32);
          command.in = job.room;
          command.cdb = iscsi::read_capacity_16(32);
          break;
        case Probe::capacity_10:
          job.room.resize(8);
          command.in = job.room;
          command.cdb = iscsi::read_capacity_10();
          break;
        case Probe::mode_sense: command.cdb = iscsi::mode_sense_6(kProbeBytes); break;
        case Probe::over: break;
      }
      break;
    case Work::write: {
      command.cdb = iscsi::write_16(lba, blocks);
      command.out.begin = static_cast<std::uint32_t>(job.offset - job.block->offset);
      command.out.length = static_cast<std::uint32_t>(job.length);
      if (job.block->kind == BlockKind::memory) {
        command.out.memory = job.block->memory;
        command.out.file = job.block->pool->file();
        command.out.memory_in_file = job.block->pool->file_offset(job.block->memory);
      } else {
        command.out.file = job.block->file;
        command.out.parts = job.block->parts;
      }
      break;
    }
    case Work::write_zeroes:
      command.cdb = iscsi::write_16(lba, blocks);
      command.out.memory = kZeros.data();
      command.out.length = static_cast<std::uint32_t>(job.length);
      break;
    case Work::write_same:
      job.owned.assign(capacity_.block_size, std::byte{0});
      send_owned();
      command.cdb = iscsi::write_same_16(lba, blocks, zero_method_ == ZeroMethod::write_same_unmap);
      break;
    case Work::unmap:
      job.owned = iscsi::unmap_parameters(lba, blocks);
      send_owned();
      command.cdb = iscsi::unmap(static_cast<std::uint16_t>(job.owned.size()));
      break;
    case Work::synchronize: command.cdb = short_synchronize_ ? iscsi::synchronize_cache_10() : iscsi::synchronize_cache_16(); break;
    case Work::read: {
      if (job.room.size() != job.length) job.room.resize(job.length);
      const auto at = job.read_so_far;
      const auto piece = std::min<std::uint64_t>(command_bytes(), job.length - at);
      command.cdb = iscsi::read_16((job.offset + at) / capacity_.block_size, static_cast<std::uint32_t>(piece / capacity_.block_size));
      command.in = std::span(job.room).subspan(at, piece);
      break;
    }
  }
  job.inflight = true;
  activity_++;
  inflight_++;
  inflight_bytes_ += job.length;
  session_->submit(command, now_ms);
}

Fault Target::scsi_fault(const Job& job, const iscsi::Completion& completion) const {
  Fault fault{FaultKind::storage, "scsi.failed", "the target's disk refuses a command", Retry::never, {}};
  const auto lba = capacity_.block_size == 0 ? 0 : job.offset / capacity_.block_size;
  if (completion.response != 0) {
    fault.code = "iscsi.target-failure";
    fault.message = "the target could not execute a command";
    return std::move(fault).with("response", std::uint64_t{completion.response});
  }
  fault.detail.emplace_back("status", std::uint64_t{static_cast<std::uint8_t>(completion.status)});
  fault.detail.emplace_back("lba", completion.sense && completion.sense->information ? *completion.sense->information : lba);
  if (completion.status == ScsiStatus::reservation_conflict) {
    fault.kind = FaultKind::conflict;
    fault.code = "scsi.reservation-conflict";
    fault.message = "the disk is reserved by another initiator";
    return fault;
  }
  if (completion.status == ScsiStatus::busy || completion.status == ScsiStatus::task_set_full) {
    fault.kind = FaultKind::busy;
    fault.code = "scsi.busy";
    fault.message = "the target's disk stays busy";
    fault.retry = Retry::later;
    return fault;
  }
  if (!completion.sense) return fault;
  const auto& sense = *completion.sense;
  fault.detail.emplace_back("sense_key", std::uint64_t{static_cast<std::uint8_t>(sense.key)});
  fault.detail.emplace_back("asc", std::uint64_t{sense.asc});
  fault.detail.emplace_back("ascq", std::uint64_t{sense.ascq});
  fault.message = "the target's disk answers " + iscsi::describe(sense);
  switch (sense.key) {
    case SenseKey::not_ready: fault.code = "scsi.not-ready"; break;
    case SenseKey::medium_error: fault.code = "scsi.medium-error"; break;
    case SenseKey::hardware_error: fault.code = "scsi.hardware-error"; break;
    case SenseKey::data_protect:
      fault.kind = FaultKind::refused;
      fault.code = sense.asc == 0x27 && sense.ascq == 0x07 ? "scsi.disk-full" : "scsi.write-protected";
      break;
    case SenseKey::illegal_request:
      fault.code = "scsi.illegal-request";
      if (sense.asc == 0x25) {
        fault.kind = FaultKind::not_found;
        fault.code = "scsi.lun-not-found";
        fault.message = "the target has no such LUN";
      }
      break;
    case SenseKey::unit_attention: fault.code = "scsi.unit-attention"; break;
    case SenseKey::aborted_command: fault.code = "scsi.aborted"; break;
    default: break;
  }
  return fault;
}

void Target::on_completion(const iscsi::Completion& completion, std::uint64_t now_ms) {
  const auto slot = static_cast<std::uint32_t>(completion.cookie);
  auto& job = jobs_[slot];
  job.inflight = false;
  activity_++;
  inflight_--;
  inflight_bytes_ -= job.length;

  bool good = completion.response == 0 && (completion.status == ScsiStatus::good || completion.status == ScsiStatus::condition_met);
  bool illegal = false;
  if (!good && completion.response == 0 && completion.status == ScsiStatus::check_condition && completion.sense) {
    good = completion.sense->key == SenseKey::recovered_error || completion.sense->key == SenseKey::no_sense;
    illegal = completion.sense->key == SenseKey::illegal_request;
  }
  // Probing looks at refusals itself; a zeroing command that is not known has a simpler one behind it.
  const bool optional = illegal && (job.work == Work::write_same || job.work == Work::unmap || job.work == Work::synchronize || job.work == Work::probe);
  if (!good && !optional) {
    std::optional<std::uint64_t> wait_ms;
    bool counts = true;
    if (completion.response != 0) {
      wait_ms = kNotReadyMs;
    } else if (completion.status == ScsiStatus::busy || completion.status == ScsiStatus::task_set_full) {
      wait_ms = kBusyMs;
      counts = false;
    } else if (completion.status == ScsiStatus::task_aborted) {
      wait_ms = kBusyMs;
    } else if (completion.sense) {
      const auto& sense = *completion.sense;
      if (sense.key == SenseKey::unit_attention) wait_ms = 0;
      if (sense.key == SenseKey::aborted_command) wait_ms = kBusyMs;
      if (sense.key == SenseKey::not_ready && sense.asc == 0x04 && sense.ascq != 0x02 && sense.ascq != 0x03) {
        wait_ms = kNotReadyMs;  // becoming ready, or an operation in progress
        counts = false;
      }
    }
    Fault fault = scsi_fault(job, completion);
    if (!wait_ms || (counts && ++job.attempts >= kMostAttempts) || now_ms - progress_ms_ >= kComeBackMs) return fail(std::move(fault));
    job.read_so_far = 0;
    last_loss_ = std::move(fault);
    return again(slot, now_ms + *wait_ms);
  }
  if (good && completion.untaken > 0) {
    return fail(Fault{FaultKind::storage, "scsi.short-write", "the target did not take all bytes of a write", Retry::never, {}}.with("untaken", std::uint64_t{completion.untaken}));
  }

  if (good) {
    progress_ms_ = now_ms;
    backoff_ms_ = 100;
  }
  Job ended = std::move(job);
  release_slot(slot);
  switch (ended.work) {
    case Work::none: return;
    case Work::probe: return on_probe(ended, completion, now_ms);
    case Work::write:
      note_done(ended.offset, ended.length, written_);
      break;
    case Work::write_zeroes:
      note_done(ended.offset, ended.length, skipped_);
      break;
    case Work::write_same:
      if (good) {
        note_done(ended.offset, ended.length, skipped_);
      } else {
        if (zero_method_ == ZeroMethod::write_same_unmap) zero_method_ = ZeroMethod::write_same;
        else zero_method_ = ZeroMethod::write;
        zero_backlog_.push_back({ended.offset, ended.offset + ended.length});
      }
      break;
    case Work::unmap:
      if (good) {
        note_done(ended.offset, ended.length, skipped_);
      } else {
        zero_method_ = ZeroMethod::write_same;
        zero_backlog_.push_back({ended.offset, ended.offset + ended.length});
      }
      break;
    case Work::synchronize:
      if (!good && !short_synchronize_) {
        short_synchronize_ = true;
        return issue({.work = Work::synchronize}, now_ms);
      }
      // A device that knows neither form has no cache to write back.
      if (plan_.verify == Verify::read_back) {
        enter(State::verifying, now_ms);
        next_record_ = 0;
        records_left_ = plan_.records->size();
        verified_ = 0;
        if (records_left_ > 0) return;
      }
      session_->logout();
      return enter(State::leaving, now_ms);
    case Work::read: {
      ended.read_so_far += completion.received;
      if (ended.read_so_far < ended.length) {
        if (completion.received == 0) return fail(Fault{FaultKind::storage, "scsi.short-read", "the target returns fewer bytes than it was asked for", Retry::never, {}});
        return issue(std::move(ended), now_ms);
      }
      const auto& record = (*plan_.records)[ended.record];
      if (crc32c(0, ByteSpan(ended.room).first(record.length)) != record.checksum) {
        return fail(Fault{FaultKind::storage, "verify.mismatch", "the disk returns other bytes than were written", Retry::never, {}}
                        .with("offset", record.offset)
                        .with("length", std::uint64_t{record.length})
                        .with("lba", record.offset / capacity_.block_size));
      }
      verified_ += record.length;
      if (--records_left_ == 0) {
        session_->logout();
        return enter(State::leaving, now_ms);
      }
      return;
    }
  }
  after_streaming(now_ms);
}

// ---- looking at the disk ----

void Target::probe_next(std::uint64_t now_ms) { issue({.work = Work::probe}, now_ms); }

void Target::on_probe(const Job& job, const iscsi::Completion& completion, std::uint64_t now_ms) {
  const bool good = completion.status == ScsiStatus::good;
  const auto data = ByteSpan(job.room).first(std::min<std::size_t>(completion.received, job.room.size()));
  const auto must = [&](const auto& decoded) {
    if (!decoded) fail(decoded.error());
    return decoded.has_value();
  };
  switch (probe_) {
    case Probe::test_unit_ready:
      if (!good) return fail(scsi_fault(job, completion));
      probe_ = Probe::inquiry;
      break;
    case Probe::inquiry: {
      if (!good) return fail(scsi_fault(job, completion));
      const auto inquiry = iscsi::decode_inquiry(data);
      if (!must(inquiry)) return;
      if (inquiry->qualifier != 0 || inquiry->device_type != 0) {
        return fail(Fault{FaultKind::not_found, "scsi.not-a-disk", "there is no disk at that LUN", Retry::never, {}}.with("device_type", std::uint64_t{inquiry->device_type}));
      }
      probe_ = Probe::pages;
      break;
    }
    case Probe::pages:
      if (good) {
        const auto pages = iscsi::decode_supported_pages(data);
        has_limits_page_ = std::ranges::find(pages, 0xb0) != pages.end();
        has_provisioning_page_ = std::ranges::find(pages, 0xb2) != pages.end();
      }
      probe_ = has_limits_page_ ? Probe::limits : has_provisioning_page_ ? Probe::provisioning : Probe::capacity_16;
      break;
    case Probe::limits:
      if (good) {
        const auto limits = iscsi::decode_block_limits(data);
        if (!must(limits)) return;
        limits_ = *limits;
      }
      probe_ = has_provisioning_page_ ? Probe::provisioning : Probe::capacity_16;
      break;
    case Probe::provisioning:
      if (good) {
        const auto provisioning = iscsi::decode_provisioning(data);
        if (!must(provisioning)) return;
        provisioning_ = *provisioning;
      }
      probe_ = Probe::capacity_16;
      break;
    case Probe::capacity_16:
    case Probe::capacity_10: {
      if (!good && probe_ == Probe::capacity_16) {
        probe_ = Probe::capacity_10;
        break;
      }
      if (!good) return fail(scsi_fault(job, completion));
      const auto capacity = probe_ == Probe::capacity_16 ? iscsi::decode_capacity_16(data) : iscsi::decode_capacity_10(data);
      if (!must(capacity)) return;
      if (capacity->block_size > kAlignment) {
        return fail(Fault{FaultKind::unsupported, "scsi.block-size", "the disk's blocks are larger than 4096 bytes", Retry::never, {}}.with("block_size", std::uint64_t{capacity->block_size}));
      }
      if (probed_ && (capacity->blocks != capacity_.blocks || capacity->block_size != capacity_.block_size)) {
        return fail(Fault{FaultKind::conflict, "disk.changed", "the disk changed its size while it was written", Retry::never, {}});
      }
      capacity_ = *capacity;
      const auto size = capacity_.blocks * capacity_.block_size;
      if (size < plan_.virtual_size) {
        return fail(Fault{FaultKind::invalid, "disk.too-small", "the disk is smaller than the image", Retry::never, {}}.with("disk_bytes", size).with("image_bytes", plan_.virtual_size));
      }
      probe_ = Probe::mode_sense;
      break;
    }
    case Probe::mode_sense:
      if (good && iscsi::decode_write_protect(data)) {
        return fail(Fault{FaultKind::refused, "scsi.write-protected", "the disk is write-protected", Retry::never, {}});
      }
      return end_probe(now_ms);
    case Probe::over: return;
  }
  probe_next(now_ms);
}

void Target::settle_zero_method() {
  const bool zero_when_unmapped = capacity_.unmapped_reads_zero || provisioning_.unmapped_reads_zero;
  zero_method_ = ZeroMethod::write_same;
  // An unmapped block may return anything unless LBPRZ says zeroes; then a discard would not be a copy of the image. WRITE SAME
  // with UNMAP is preferred: it zeroes what the device does not care to unmap, where UNMAP itself is only a hint.
  if (plan_.policy == HolePolicy::discard && capacity_.provisioning_managed && zero_when_unmapped) {
    if (provisioning_.write_same_unmap) zero_method_ = ZeroMethod::write_same_unmap;
    else if (provisioning_.unmap) zero_method_ = ZeroMethod::unmap;
  }
}

void Target::end_probe(std::uint64_t now_ms) {
  probe_ = Probe::over;
  if (!probed_) settle_zero_method();
  probed_ = true;
  progress_ms_ = now_ms;
  enter(started_ ? resume_to_ : State::ready, now_ms);
  if (started_) after_streaming(now_ms);
}

// ---- writing ----

void Target::start_streaming(std::uint64_t first_block) {
  started_ = true;
  cursor_ = first_block;
  if (state_ == State::ready) state_ = State::streaming;
}

void Target::finish_streaming() { ending_ = true; }

std::uint32_t Target::command_bytes() const {
  if (limits_.maximum_transfer_blocks == 0) return kCommandBytes;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(kCommandBytes, std::uint64_t{limits_.maximum_transfer_blocks} * capacity_.block_size));
}

void Target::note_done(std::uint64_t offset, std::uint64_t length, std::uint64_t& counter) {
  const auto end = std::min(offset + length, plan_.virtual_size);
  if (end > offset && !done_.contains(offset, end)) counter += end - offset;
  done_.add(offset, end);
}

void Target::fill_streaming(std::uint64_t now_ms) {
  idle_ = false;
  while (session_->room() > 0 && (inflight_ == 0 || inflight_bytes_ < plan_.window_bytes)) {
    if (!zero_run_ && !zero_backlog_.empty()) {
      zero_run_ = zero_backlog_.back();
      zero_backlog_.pop_back();
    }
    if (zero_run_) {
      if (!issue_zeroes(now_ms)) return;
      continue;
    }
    if (current_) {
      const auto end = current_->offset + current_->length;
      const auto gap = done_.first_gap(current_at_, end);
      if (gap.begin >= gap.end) {
        current_.reset();
        continue;
      }
      const auto length = std::min<std::uint64_t>(gap.end - gap.begin, command_bytes());
      current_at_ = gap.begin + length;
      Job job{.work = Work::write, .offset = gap.begin, .length = round_up(length), .block = current_};
      if (current_at_ >= end) current_.reset();
      issue(std::move(job), now_ms);
      continue;
    }
    plan_.carousel->want_notice();  // before looking, so that nothing slips between
    auto block = plan_.carousel->at(cursor_);
    const auto state = block ? block->state.load(std::memory_order_acquire) : BlockState::pending;
    if (state == BlockState::pending) {
      idle_ = true;
      break;
    }
    if (state == BlockState::failed) {
      source_fault_ = block->fault;
      break;
    }
    cursor_++;
    if (block->kind == BlockKind::zero) {
      if (plan_.policy == HolePolicy::disk_is_blank) {
        note_done(block->offset, block->length, skipped_);
        progress_ms_ = now_ms;
      } else {
        zero_run_ = Interval{block->offset, block->offset + round_up(block->length)};
      }
      continue;
    }
    if (block->kind == BlockKind::file && session_->max_segment() < kShortPdu) block->map();
    current_at_ = block->offset;
    current_ = std::move(block);
  }
  after_streaming(now_ms);
}

bool Target::issue_zeroes(std::uint64_t now_ms) {
  auto& run = *zero_run_;
  // What the image's end is rounded up by is never in done_: look at the disk's own bytes only.
  const auto image_end = std::min(run.end, plan_.virtual_size);
  const auto gap = done_.first_gap(run.begin, image_end);
  if (gap.begin >= gap.end) {
    zero_run_.reset();
    return true;
  }
  const std::uint64_t end = round_up(gap.end);
  const std::uint64_t block_size = capacity_.block_size;
  Work work = Work::write_zeroes;
  std::uint64_t length = std::min<std::uint64_t>(end - gap.begin, command_bytes());
  if (zero_method_ == ZeroMethod::write_same || zero_method_ == ZeroMethod::write_same_unmap) {
    work = Work::write_same;
    length = std::min(end - gap.begin, kMostZeroBytes);
    if (limits_.maximum_write_same_blocks != 0) length = std::min(length, limits_.maximum_write_same_blocks * block_size);
  } else if (zero_method_ == ZeroMethod::unmap) {
    // Whole granules can be unmapped; the edges are written.
    const std::uint64_t granule = std::max<std::uint64_t>(1, limits_.unmap_granularity) * block_size;
    const std::uint64_t skew = limits_.unmap_alignment * block_size % granule;
    const std::uint64_t into = (gap.begin + granule - skew) % granule;
    const std::uint64_t first = into == 0 ? gap.begin : gap.begin + granule - into;
    if (first > gap.begin) {
      length = std::min(length, first - gap.begin);
    } else if (end - first >= granule) {
      work = Work::unmap;
      length = std::min(end - first, kMostZeroBytes);
      if (limits_.maximum_unmap_blocks != 0) length = std::min(length, limits_.maximum_unmap_blocks * block_size);
      length = std::max(granule, length / granule * granule);
    }
  }
  run.begin = gap.begin + length;
  issue({.work = work, .offset = gap.begin, .length = length}, now_ms);
  return true;
}

void Target::after_streaming(std::uint64_t now_ms) {
  if (state_ != State::streaming || !quiet()) return;
  if (has_everything()) {
    enter(State::syncing, now_ms);
    return issue({.work = Work::synchronize}, now_ms);
  }
  if (ending_) fail(Fault{FaultKind::internal, "image.incomplete", "the image was laid out without the bytes that this target misses", Retry::never, {}});
}

void Target::fill_verifying(std::uint64_t now_ms) {
  while (session_->room() > 0 && next_record_ < plan_.records->size() && (inflight_ == 0 || inflight_bytes_ < plan_.window_bytes)) {
    const auto& record = (*plan_.records)[next_record_];
    issue({.work = Work::read, .offset = record.offset, .length = round_up(record.length), .record = next_record_}, now_ms);
    next_record_++;
  }
}

// ---- what is known ----

const char* Target::stage() const {
  switch (state_) {
    case State::waiting: return probed_ ? "reconnecting" : "connecting";
    case State::connecting: return probed_ ? "reconnecting" : "connecting";
    case State::login: return "login";
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
}

TargetProgress Target::progress() const { return {written_, skipped_, verified_, stage()}; }

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
