#include "pipeline/stream_job.hpp"

#include <algorithm>
#include <chrono>
#include <random>

#include "pipeline/block_supply.hpp"
#include "pipeline/pipe_signal_guard.hpp"
#include "pipeline/socket_watch.hpp"
#include "pipeline/streamed_image.hpp"
#include "pipeline/target.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kTickMs = 50;
constexpr std::uint64_t kProgressMs = 250;
constexpr std::uint64_t kStartGraceMs = 2000;  // for the others, once one target is ready
constexpr std::uint64_t kPatienceMs = 100;     // of targets that could take more, with one that holds the carousel

std::uint64_t now_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

Fault cancelled_fault() { return Fault{FaultKind::cancelled, "stream.cancelled", "the stream was cancelled", Retry::never, {}}; }

/// RFC 7143 §11.12.5: a random ISID, the same for a target's reconnects so that a new login ends the old session.
iscsi::Isid random_isid() {
  std::random_device device;
  iscsi::Isid isid{};
  isid[0] = std::byte{0x80};
  for (std::size_t i = 1; i < isid.size(); i++) isid[i] = static_cast<std::byte>(device());
  return isid;
}

}  // namespace

/// Everything that exists only while a job runs. Members are destroyed in reverse: targets let go of blocks before their
/// supply goes.
struct StreamJob::Running {
  StreamJob& job;
  const OnProgress& on_progress;
  StreamedImage image;
  TargetPlan plan;
  std::vector<Record> records;
  std::unique_ptr<BlockSupply> supply;
  std::vector<std::unique_ptr<Target>> targets;
  std::vector<std::shared_ptr<const TargetResult>> ends;  // of targets whose end holds
  iscsi::Isid isid = random_isid();
  SocketWatch watch;
  bool started = false;
  std::uint64_t first_ready_ms = 0;
  std::uint64_t starved_since_ms = 0;
  std::uint64_t hungry_since_ms = 0;
  std::uint64_t record_cursor = 0;
  IntervalSet recorded;

  Running(StreamJob& owner, const OnProgress& progress) : job(owner), on_progress(progress) {}

  ~Running() { job.stop_.request_stop(); }

  Result<void> prepare();
  Result<void> loop();
  void add_target(TargetRequest request, std::uint64_t now);
  void read_mail(std::uint64_t now);
  Result<bool> settle();
  void start_when_ready(std::uint64_t now);
  std::optional<Fault> advance(std::uint64_t now);
  void collect_records(std::uint64_t end);
  void release_blocks(std::uint64_t now);
  void report() const;
};

Result<void> StreamJob::Running::prepare() {
  auto& request = job.request_;
  if (auto opened = image.open(request.source, job.stop_.get_token(), job.wakeup_); !opened) return opened;

  const auto count = request.targets.size();
  plan.virtual_size = image.virtual_size();
  plan.policy = request.policy;
  plan.verify = request.verify;
  plan.window_bytes = window_bytes(count);
  plan.command_ms = request.command_timeout_ms;
  plan.image = image_identity(request, image.identity(), plan.virtual_size);
  plan.records = &records;

  supply = std::make_unique<BlockSupply>(image, plan.virtual_size, job.checksums_, job.wakeup_);
  supply->allow(count);
  plan.carousel = &supply->carousel();

  if (auto opened = watch.open(job.wakeup_); !opened) return opened;
  for (auto& target : request.targets) add_target(std::move(target), now_ms());
  request.targets.clear();
  return {};
}

void StreamJob::Running::add_target(TargetRequest request, std::uint64_t now) {
  auto own = isid;  // two LUNs of one target are two sessions
  const auto number = (static_cast<std::size_t>(own[4]) << 8 | static_cast<std::size_t>(own[5])) + targets.size();
  own[4] = static_cast<std::byte>(number >> 8);
  own[5] = static_cast<std::byte>(number);
  targets.push_back(std::make_unique<Target>(std::move(request), plan, own, now));
  ends.emplace_back();
}

void StreamJob::Running::read_mail(std::uint64_t now) {
  auto mail = job.take_mail();
  for (auto& join : mail.joins) {
    add_target(std::move(join), now);
    if (started) targets.back()->start_streaming();
    targets.back()->begin(now);
  }
  for (const auto which : mail.drops) {
    if (which < targets.size()) targets[which]->cancel();
  }
  if (mail.joins.empty()) return;
  const auto living = std::max<std::size_t>(1, static_cast<std::size_t>(std::ranges::count_if(targets, [](const auto& target) { return !target->over(); })));
  plan.window_bytes = window_bytes(living);
  supply->allow(living);
}

/// Gives each target that is over its end: a failed one at once, a written one when the image is known to be the right one. True when
/// there is a new one.
Result<bool> StreamJob::Running::settle() {
  bool any = false;
  for (std::size_t i = 0; i < targets.size(); i++) {
    if (ends[i] || !targets[i]->over()) continue;
    if (targets[i]->state() == Target::State::finished) {
      if (!image.is_proven()) continue;
      if (auto same = image.unchanged(); !same) return std::unexpected(std::move(same.error()));
    }
    ends[i] = std::make_shared<const TargetResult>(targets[i]->result());
    any = true;
  }
  if (any) {
    const std::lock_guard lock(job.mutex_);
    job.living_ = job.mail_.joins.size() + static_cast<std::size_t>(std::ranges::count(ends, nullptr));
  }
  return any;
}

void StreamJob::Running::start_when_ready(std::uint64_t now) {
  if (started) return;
  const auto ready = std::ranges::count_if(targets, [](const auto& target) { return target->state() == Target::State::ready; });
  const auto expected = std::ranges::count_if(targets, [](const auto& target) { return !target->over(); });
  if (ready == 0) return;
  if (first_ready_ms == 0) first_ready_ms = now;
  if (!image.may_be_written()) return;
  if (ready < expected && now - first_ready_ms < kStartGraceMs) return;
  started = true;
  IntervalSet wanted;
  for (auto& target : targets) {
    target->start_streaming();
    if (!target->over()) wanted.add(target->done().gaps(0, plan.virtual_size));
  }
  // What all have from an earlier job need not be laid out, unless its checksums are wanted.
  if (plan.verify == Verify::read_back) wanted.add(0, plan.virtual_size);
  supply->begin_pass(wanted);
}

void StreamJob::Running::collect_records(std::uint64_t end) {
  if (plan.verify != Verify::read_back) return;
  const auto& carousel = supply->carousel();
  for (; record_cursor < end; record_cursor++) {
    const auto block = carousel.at(record_cursor);
    if (!block || block->state.load(std::memory_order_acquire) != BlockState::ready) return;
    const auto end = block->offset + block->length;
    // Later passes bring blocks again that are recorded already.
    if (block->kind == BlockKind::zero || recorded.contains(block->offset, end)) continue;
    records.push_back({block->offset, static_cast<std::uint32_t>(block->length), block->checksum});
    recorded.add(block->offset, end);
  }
}

/// Blocks leave the carousel when every target that draws from it has taken them. One that lags holds it only for a
/// moment: then the others go on, and it gets what it missed in a later pass.
void StreamJob::Running::release_blocks(std::uint64_t now) {
  auto& carousel = supply->carousel();
  const auto state = carousel.state();
  std::uint64_t slowest = state.end;
  std::uint64_t fastest = state.first;
  bool idle = false;
  bool any = false;
  for (const auto& target : targets) {
    if (!target->draws()) continue;
    any = true;
    slowest = std::min(slowest, std::max(target->cursor(), state.first));
    fastest = std::max(fastest, target->cursor());
    idle = idle || target->idle();
  }
  if (!any) {
    // Nobody is connected right now. Those that come back go on with what lies there.
    starved_since_ms = 0;
    return;
  }
  collect_records(fastest);
  if (slowest > state.first) carousel.release_before(slowest);
  const bool starved = idle && fastest >= carousel.state().end && supply->starved();
  if (!starved || slowest >= fastest) {
    starved_since_ms = 0;
  } else if (starved_since_ms == 0) {
    starved_since_ms = now;
  } else if (now - starved_since_ms >= kPatienceMs) {
    carousel.release_before(slowest + (fastest - slowest + 1) / 2);
  }
}

std::optional<Fault> StreamJob::Running::advance(std::uint64_t now) {
  start_when_ready(now);
  if (!started) return std::nullopt;
  release_blocks(now);
  const auto state = supply->carousel().state();
  if (!state.pass_ended) return std::nullopt;
  if (supply->fault()) return supply->fault();
  // The pass is laid out. What those still miss who have looked at all of it makes the next one. The others are waited for, but not
  // for long: one whose wire has come to a halt must not hold up one that came late.
  IntervalSet missing;
  bool busy = false;
  for (const auto& target : targets) {
    if (target->over() || target->has_everything() || !target->draws()) continue;
    if (target->cursor() < state.end || !target->quiet()) busy = true;
    else missing.add(target->done().gaps(0, plan.virtual_size));
  }
  if (missing.empty()) {
    hungry_since_ms = 0;
    return std::nullopt;
  }
  if (hungry_since_ms == 0) hungry_since_ms = now;
  if (busy && now - hungry_since_ms < kPatienceMs) return std::nullopt;
  hungry_since_ms = 0;
  supply->begin_pass(missing);
  return std::nullopt;
}

void StreamJob::Running::report() const {
  if (!on_progress) return;
  Progress progress;
  progress.source_bytes = supply->position();
  progress.virtual_size = plan.known_size();
  for (std::size_t i = 0; i < targets.size(); i++) {
    progress.targets.push_back(targets[i]->progress());
    progress.targets.back().end = ends[i];
  }
  on_progress(progress);
}

Result<void> StreamJob::Running::loop() {
  auto now = now_ms();
  for (auto& target : targets) target->begin(now);
  std::uint64_t ticked = now;
  std::uint64_t reported = now;
  while (true) {
    const auto wait = static_cast<int>(kTickMs - std::min(kTickMs, now - ticked));
    const auto events = watch.wait(targets, wait);
    now = now_ms();
    for (const auto& [target, what] : events.sockets) targets[target]->on_socket(what, now);
    if (job.cancelled_.load(std::memory_order_acquire)) return std::unexpected(cancelled_fault());
    if (auto fault = image.fault()) return std::unexpected(std::move(*fault));
    if (events.woken) {
      read_mail(now);
      for (auto& target : targets) target->pump(now);
    }
    if (now - ticked >= kTickMs) {
      ticked = now;
      for (auto& target : targets) target->on_tick(now);
    }
    for (const auto& target : targets) {
      if (auto fault = target->source_fault()) return std::unexpected(std::move(*fault));
    }
    if (auto fault = advance(now)) return std::unexpected(std::move(*fault));
    const auto settled = settle();
    if (!settled) return std::unexpected(settled.error());
    if (*settled || now - reported >= kProgressMs) {
      reported = now;
      report();
    }
    if (std::ranges::count(ends, nullptr) == 0 && job.close_if_no_mail()) return {};
  }
}

StreamJob::StreamJob(StreamRequest request)
    : request_(std::move(request)),
      count_(request_.targets.size()),
      living_(count_),
      checksums_(request_.verify == Verify::read_back || std::ranges::any_of(request_.targets, &TargetRequest::data_digest)) {}
StreamJob::~StreamJob() = default;

void StreamJob::cancel() {
  cancelled_.store(true, std::memory_order_release);
  stop_.request_stop();
  wakeup_.wake();
}

std::optional<std::size_t> StreamJob::add(TargetRequest target) {
  const std::lock_guard lock(mutex_);
  if (closed_ || cancelled_ || living_ >= kMostTargets || (target.data_digest && !checksums_) || !check(target)) return std::nullopt;
  living_++;
  mail_.joins.push_back(std::move(target));
  wakeup_.wake();
  return count_++;
}

void StreamJob::drop(std::size_t target) {
  const std::lock_guard lock(mutex_);
  mail_.drops.push_back(target);
  wakeup_.wake();
}

StreamJob::Mail StreamJob::take_mail() {
  const std::lock_guard lock(mutex_);
  return std::exchange(mail_, {});
}

bool StreamJob::close_if_no_mail() {
  const std::lock_guard lock(mutex_);
  closed_ = closed_ || mail_.joins.empty();
  return closed_;
}

Result<StreamResult> StreamJob::run(const OnProgress& on_progress) {
  if (auto checked = check(request_); !checked) return std::unexpected(std::move(checked.error()));
  const PipeSignalGuard guard;
  Running running(*this, on_progress);
  const auto closing = [this](Fault fault) -> Result<StreamResult> {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    return std::unexpected(std::move(fault));
  };
  if (auto prepared = running.prepare(); !prepared) return closing(std::move(prepared.error()));
  if (auto looped = running.loop(); !looped) return closing(std::move(looped.error()));

  StreamResult result;
  result.virtual_size = running.plan.known_size();
  for (const auto& end : running.ends) result.targets.push_back(*end);
  const bool any = std::ranges::any_of(result.targets, [](const auto& target) { return target.has_value(); });
  if (any) result.checksum = request_.source.checksum;
  return result;
}

}  // namespace ironrack::pipeline
