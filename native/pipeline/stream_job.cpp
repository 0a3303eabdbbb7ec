#include "pipeline/stream_job.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>
#include <thread>

#include "image/packed.hpp"
#include "pipeline/extent_planner.hpp"
#include "pipeline/file_checksum.hpp"
#include "pipeline/packed_planner.hpp"
#include "pipeline/pipe_signal_guard.hpp"
#include "pipeline/socket_watch.hpp"
#include "pipeline/target.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::size_t kMostBlocks = 128;          // on the carousel
constexpr std::uint64_t kTickMs = 50;
constexpr std::uint64_t kProgressMs = 250;
constexpr std::uint64_t kCheckedFirst = 128 << 20;  // image files up to this size are checked before the first byte is written
constexpr std::uint64_t kStartGraceMs = 2000;        // for the others, once one target is ready
constexpr std::uint64_t kPatienceMs = 100;           // of targets that could take more, with one that holds the carousel
constexpr unsigned kMostDecoders = 16;
constexpr std::size_t kSpareBytes = 8 << 20;
constexpr std::size_t kPackedSpareBytes = 4 << 20;  // unpackers keep something themselves

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

/// What a target may have on the way, by how many there are: it pins that much of the buffers.
std::size_t window_bytes(std::size_t targets) { return targets <= 2 ? 8 << 20 : targets <= 8 ? 4 << 20 : 2 << 20; }

/// The pool holds all windows, and something to go on with when all of them stand still.
std::size_t pool_buffers(std::size_t targets, std::size_t bytes, std::size_t spare_bytes) { return (window_bytes(targets) * targets + spare_bytes) / bytes; }

}  // namespace

/// Everything that exists only while a job runs. Members are destroyed in reverse: targets let go of blocks before the
/// carousel and the pool go; threads are joined by close().
struct StreamJob::Running {
  StreamJob& job;
  const OnProgress& on_progress;
  image::OpenedFile file;
  std::unique_ptr<image::Source> source;       // one of
  std::unique_ptr<image::PackedImage> packed;  // these
  std::unique_ptr<FileChecksum> checksum;
  TargetPlan plan;
  std::vector<Record> records;
  std::size_t spare_bytes = 0;  // of buffers beside the targets' windows
  std::unique_ptr<BufferPool> pool;
  std::unique_ptr<Carousel> carousel;
  std::unique_ptr<DecodePool> decoders;
  std::unique_ptr<Planner> planner;
  std::thread planning;
  std::atomic<bool> planning_over = true;
  std::optional<Fault> planning_fault;
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

  ~Running() {
    close();
    targets.clear();
  }

  void close() {
    job.stop_.request_stop();
    if (pool) pool->close();
    if (carousel) carousel->close();
    if (decoders) decoders->close();
    if (planning.joinable()) planning.join();
  }

  [[nodiscard]] std::shared_ptr<image::Arrival> arrival() const { return job.request_.source.arriving ? job.request_.source.arriving->arrival : nullptr; }
  [[nodiscard]] bool image_is_proven() const;
  [[nodiscard]] std::optional<Fault> image_fault() const;
  Result<void> open_file();
  Result<void> open_image();
  void make_planner();
  Result<void> prepare();
  Result<void> loop();
  void add_target(TargetRequest request, std::uint64_t now);
  void read_mail(std::uint64_t now);
  Result<bool> settle();
  void begin_pass(const IntervalSet& wanted);
  void start_when_ready(std::uint64_t now);
  std::optional<Fault> advance(std::uint64_t now);
  void collect_records(std::uint64_t end);
  void release_blocks(std::uint64_t now);
  void report() const;
};

Result<void> StreamJob::Running::open_file() {
  const auto& request = job.request_.source;
  if (const auto& arriving = request.arriving) {
    file.fd = UniqueFd(::fcntl(arriving->fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!file.fd) return std::unexpected(system_fault(FaultKind::internal, "image.open", "the arriving image cannot be opened", errno));
    // Written to until it is whole: nobody else's earlier work counts for it, nor this for a later one.
    std::random_device random;
    file.identity = {arriving->arrival->size(), -1, static_cast<std::int64_t>(random())};
    return {};
  }
  auto opened = image::open_file(request.path);
  if (!opened) return std::unexpected(std::move(opened.error()));
  file = std::move(*opened);
  return {};
}

/// Whether the image is known to be what it should be: its checksum is found right, and all of it arrived.
bool StreamJob::Running::image_is_proven() const { return (!checksum || checksum->over()) && (!arrival() || arrival()->over()); }

std::optional<Fault> StreamJob::Running::image_fault() const {
  if (checksum && checksum->over() && checksum->fault()) return checksum->fault();
  return arrival() ? arrival()->fault() : std::nullopt;
}

Result<void> StreamJob::Running::open_image() {
  if (auto opened = open_file(); !opened) return opened;
  const image::ImageFile readable{file.fd.get(), file.identity.size, arrival(), job.stop_.get_token()};
  const auto& format = job.request_.source.format;
  if (image::is_packed(format)) {
    auto image = image::open_packed(readable, format);
    if (!image) return std::unexpected(std::move(image.error()));
    packed = std::move(*image);
    plan.virtual_size = packed->virtual_size();
  } else {
    auto image = image::open_source(readable, format);
    if (!image) return std::unexpected(std::move(image.error()));
    source = std::move(*image);
    plan.virtual_size = source->virtual_size();
  }
  return {};
}

void StreamJob::Running::make_planner() {
  const auto processors = std::clamp(std::thread::hardware_concurrency(), 1u, kMostDecoders);
  const auto bytes = packed ? std::size_t{kCommandBytes} : block_bytes(*source);
  spare_bytes = packed ? kPackedSpareBytes : std::max<std::size_t>(kSpareBytes, 8 * bytes);
  pool = std::make_unique<BufferPool>(pool_buffers(kMostTargets, bytes, spare_bytes), bytes);
  carousel = std::make_unique<Carousel>(kMostBlocks, job.wakeup_);
  plan.carousel = carousel.get();
  if (packed) {
    planner = std::make_unique<PackedPlanner>(PackedPlanner::Parts{*packed, *carousel, *pool, plan.virtual_size, unpackers_for(*packed, processors), job.checksums_});
    return;
  }
  const unsigned workers = source->decode_unit() == 0 && !job.checksums_ ? 1 : processors;
  decoders = std::make_unique<DecodePool>(workers, source->decode_unit(), file.fd.get(), job.checksums_, *carousel);
  planner = std::make_unique<ExtentPlanner>(ExtentPlanner::Parts{*source, *carousel, *pool, *decoders, job.checksums_});
}

Result<void> StreamJob::Running::prepare() {
  auto& request = job.request_;
  if (auto opened = open_image(); !opened) return opened;
  if (request.source.checksum && !arrival()) checksum = std::make_unique<FileChecksum>(file.fd.get(), file.identity.size, *request.source.checksum, job.wakeup_);

  const auto count = request.targets.size();
  plan.policy = request.policy;
  plan.verify = request.verify;
  plan.window_bytes = window_bytes(count);
  plan.command_ms = request.command_timeout_ms;
  plan.image = image_identity(request, file.identity, plan.virtual_size);
  plan.records = &records;

  make_planner();
  pool->allow(pool_buffers(count, pool->buffer_size(), spare_bytes));

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
  pool->allow(pool_buffers(living, pool->buffer_size(), spare_bytes));
}

/// Gives each target that is over its end: a failed one at once, a written one when the image is known to be the right one. True when
/// there is a new one.
Result<bool> StreamJob::Running::settle() {
  bool any = false;
  for (std::size_t i = 0; i < targets.size(); i++) {
    if (ends[i] || !targets[i]->over()) continue;
    if (targets[i]->state() == Target::State::finished) {
      if (!image_is_proven()) continue;
      const auto identity = image::identify(file.fd.get());
      if (!arrival() && (!identity || *identity != file.identity)) return fail(FaultKind::conflict, "image.changed", "the image file changed while it was streamed", Retry::later);
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

void StreamJob::Running::begin_pass(const IntervalSet& wanted) {
  if (planning.joinable()) planning.join();
  carousel->begin_pass();
  carousel->want_notice();  // nobody has looked for blocks yet
  planning_over.store(false, std::memory_order_relaxed);
  planning = std::thread([this, wanted] {
    auto passed = planner->run_pass(wanted);
    if (!passed) planning_fault = std::move(passed.error());
    planning_over.store(true, std::memory_order_release);
    carousel->end_pass();
    job.wakeup_.wake();
  });
}

void StreamJob::Running::start_when_ready(std::uint64_t now) {
  if (started) return;
  const auto ready = std::ranges::count_if(targets, [](const auto& target) { return target->state() == Target::State::ready; });
  const auto expected = std::ranges::count_if(targets, [](const auto& target) { return !target->over(); });
  if (ready == 0) return;
  if (first_ready_ms == 0) first_ready_ms = now;
  // A small image is checked before a byte is written; for a large one that would only double the time.
  if (checksum && file.identity.size <= kCheckedFirst && (!checksum->over() || checksum->fault())) return;
  if (ready < expected && now - first_ready_ms < kStartGraceMs) return;
  started = true;
  IntervalSet wanted;
  for (auto& target : targets) {
    target->start_streaming();
    if (!target->over()) wanted.add(target->done().gaps(0, plan.virtual_size));
  }
  // What all have from an earlier job need not be laid out, unless its checksums are wanted.
  if (plan.verify == Verify::read_back) wanted.add(0, plan.virtual_size);
  begin_pass(wanted);
}

void StreamJob::Running::collect_records(std::uint64_t end) {
  if (plan.verify != Verify::read_back) return;
  for (; record_cursor < end; record_cursor++) {
    const auto block = carousel->at(record_cursor);
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
  const auto state = carousel->state();
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
  if (slowest > state.first) carousel->release_before(slowest);
  const auto after = carousel->state();
  const bool starved = idle && fastest >= after.end && (after.blocked || pool->starved());
  if (!starved || slowest >= fastest) {
    starved_since_ms = 0;
  } else if (starved_since_ms == 0) {
    starved_since_ms = now;
  } else if (now - starved_since_ms >= kPatienceMs) {
    carousel->release_before(slowest + (fastest - slowest + 1) / 2);
  }
}

std::optional<Fault> StreamJob::Running::advance(std::uint64_t now) {
  start_when_ready(now);
  if (!started) return std::nullopt;
  release_blocks(now);
  if (!planning_over.load(std::memory_order_acquire)) return std::nullopt;
  if (planning_fault) return planning_fault;
  // The pass is laid out. What those still miss who have looked at all of it makes the next one. The others are waited for, but not
  // for long: one whose wire has come to a halt must not hold up one that came late.
  const auto state = carousel->state();
  if (!state.pass_ended) return std::nullopt;
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
  begin_pass(missing);
  return std::nullopt;
}

void StreamJob::Running::report() const {
  if (!on_progress) return;
  Progress progress;
  progress.source_bytes = planner->position();
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
    if (auto fault = image_fault()) return std::unexpected(std::move(*fault));
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
