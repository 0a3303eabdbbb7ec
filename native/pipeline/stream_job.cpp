#include "pipeline/stream_job.hpp"

#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "image/source.hpp"
#include "pipeline/file_checksum.hpp"
#include "pipeline/pipe_signal_guard.hpp"
#include "pipeline/target.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::size_t kMostTargets = 64;
constexpr std::size_t kMostBlocks = 128;          // on the carousel
constexpr std::uint64_t kTickMs = 50;
constexpr std::uint64_t kProgressMs = 250;
constexpr std::uint64_t kCheckedFirst = 128 << 20;  // image files up to this size are checked before the first byte is written
constexpr std::uint64_t kStartGraceMs = 2000;        // for the others, once one target is ready
constexpr std::uint64_t kPatienceMs = 100;           // of targets that could take more, with one that holds the carousel
constexpr unsigned kMostDecoders = 16;

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

Result<void> check(const StreamRequest& request) {
  if (request.targets.empty()) return fail(FaultKind::invalid, "stream.no-target", "a stream needs a target");
  if (request.targets.size() > kMostTargets) return fail(FaultKind::invalid, "stream.too-many-targets", "a stream goes to at most 64 targets");
  for (const auto& target : request.targets) {
    if (target.iqn.empty() || target.initiator_iqn.empty()) return fail(FaultKind::invalid, "stream.no-name", "target and initiator need names");
    if (target.lun > 16383) return fail(FaultKind::invalid, "stream.lun", "a LUN is at most 16383");
  }
  if (const auto& checksum = request.source.checksum) {
    const auto& [algorithm, value] = *checksum;
    const std::size_t digits = algorithm == "md5" ? 32 : algorithm == "sha256" ? 64 : algorithm == "sha512" ? 128 : 0;
    if (digits == 0) return fail(FaultKind::unsupported, "digest.unknown", "images cannot be checked with " + algorithm);
    if (value.size() != digits || value.find_first_not_of("0123456789abcdef") != std::string::npos) {
      return fail(FaultKind::invalid, "stream.checksum", "the checksum is not a lower-case hexadecimal " + algorithm);
    }
  }
  return {};
}

}  // namespace

/// Everything that exists only while a job runs. Members are destroyed in reverse: targets let go of blocks before the
/// carousel and the pool go; threads are joined by close().
struct StreamJob::Running {
  StreamJob& job;
  const OnProgress& on_progress;
  image::OpenedFile file;
  std::unique_ptr<image::Source> source;
  std::unique_ptr<FileChecksum> checksum;
  TargetPlan plan;
  std::vector<Record> records;
  std::unique_ptr<BufferPool> pool;
  std::unique_ptr<Carousel> carousel;
  std::unique_ptr<DecodePool> decoders;
  std::unique_ptr<Planner> planner;
  std::thread planning;
  std::atomic<bool> planning_over = true;
  std::optional<Fault> planning_fault;
  std::vector<std::unique_ptr<Target>> targets;
  UniqueFd epoll;
  std::vector<std::uint64_t> registered;   // socket number of each target in epoll
  std::vector<std::uint32_t> interest;     // events registered
  bool started = false;
  std::uint64_t first_ready_ms = 0;
  std::uint64_t starved_since_ms = 0;
  std::uint64_t record_cursor = 0;
  std::uint64_t records_end = 0;

  Running(StreamJob& owner, const OnProgress& progress) : job(owner), on_progress(progress) {}

  ~Running() {
    close();
    targets.clear();
  }

  void close() {
    if (pool) pool->close();
    if (carousel) carousel->close();
    if (decoders) decoders->close();
    if (planning.joinable()) planning.join();
  }

  Result<void> prepare();
  Result<void> loop();
  void register_sockets();
  void begin_pass(const IntervalSet& wanted);
  void start_when_ready(std::uint64_t now);
  std::optional<Fault> advance(std::uint64_t now);
  void collect_records(std::uint64_t end);
  void release_blocks(std::uint64_t now);
  void report() const;
};

Result<void> StreamJob::Running::prepare() {
  auto& request = job.request_;
  auto opened = image::open_file(request.source.path);
  if (!opened) return std::unexpected(std::move(opened.error()));
  file = std::move(*opened);
  auto opened_source = image::open_source(file.fd.get(), file.identity.size, request.source.format);
  if (!opened_source) return std::unexpected(std::move(opened_source.error()));
  source = std::move(*opened_source);
  if (request.source.checksum) checksum = std::make_unique<FileChecksum>(file.fd.get(), file.identity.size, *request.source.checksum, job.wakeup_);

  const bool digests = std::ranges::any_of(request.targets, &TargetRequest::data_digest);
  const auto count = request.targets.size();
  plan.virtual_size = source->virtual_size();
  plan.policy = request.policy;
  plan.verify = request.verify;
  const bool checksums = digests || request.verify == Verify::read_back;
  // What a target has on the way pins buffers; the pool holds all windows and 8 MiB to go on with when all of them stand still.
  plan.window_bytes = count <= 2 ? 8 << 20 : count <= 8 ? 4 << 20 : 2 << 20;
  plan.records = &records;

  const auto bytes = block_bytes(*source);
  const auto pool_bytes = plan.window_bytes * count + std::max<std::size_t>(8 << 20, 8 * bytes);
  pool = std::make_unique<BufferPool>(pool_bytes / bytes, bytes);
  carousel = std::make_unique<Carousel>(kMostBlocks, job.wakeup_);
  plan.carousel = carousel.get();
  const unsigned decoders_wanted = source->decode_unit() == 0 && !checksums ? 1 : std::clamp(std::thread::hardware_concurrency(), 1u, kMostDecoders);
  decoders = std::make_unique<DecodePool>(decoders_wanted, source->decode_unit(), file.fd.get(), checksums, *carousel);
  planner = std::make_unique<Planner>(Planner::Parts{*source, *carousel, *pool, *decoders, checksums});

  epoll = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return std::unexpected(system_fault(FaultKind::internal, "stream.epoll", "no epoll", errno));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = UINT64_MAX}};
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, job.wakeup_.fd(), &event);

  const auto isid = random_isid();
  for (std::size_t i = 0; i < count; i++) {
    auto own = isid;
    own[5] = static_cast<std::byte>(static_cast<std::size_t>(own[5]) + i);  // two LUNs of one target are two sessions
    targets.push_back(std::make_unique<Target>(request.targets[i], plan, own, now_ms()));
  }
  registered.resize(count);
  interest.resize(count);
  return {};
}

void StreamJob::Running::begin_pass(const IntervalSet& wanted) {
  if (planning.joinable()) planning.join();
  carousel->begin_pass();
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
  IntervalSet all;
  all.add(0, plan.virtual_size);
  for (auto& target : targets) target->start_streaming();
  begin_pass(all);
}

void StreamJob::Running::register_sockets() {
  for (std::size_t i = 0; i < targets.size(); i++) {
    const auto& target = *targets[i];
    const int fd = target.fd();
    if (fd < 0) continue;  // a closed socket left epoll by itself
    const std::uint32_t events = EPOLLIN | (target.wants_to_write() ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
    const bool fresh = registered[i] != target.socket_number();
    if (!fresh && interest[i] == events) continue;
    epoll_event event{.events = events, .data = {.u64 = i}};
    ::epoll_ctl(epoll.get(), fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    registered[i] = target.socket_number();
    interest[i] = events;
  }
}

void StreamJob::Running::collect_records(std::uint64_t end) {
  if (plan.verify != Verify::read_back) return;
  for (; record_cursor < end; record_cursor++) {
    const auto block = carousel->at(record_cursor);
    if (!block || block->state.load(std::memory_order_acquire) != BlockState::ready) return;
    // Later passes bring blocks again that are recorded already.
    if (block->kind == BlockKind::zero || block->offset < records_end) continue;
    records.push_back({block->offset, static_cast<std::uint32_t>(block->length), block->checksum});
    records_end = block->offset + block->length;
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
  // The pass is laid out. When all who draw have looked at all of it, what anybody still misses makes the next pass.
  const auto state = carousel->state();
  if (!state.pass_ended) return std::nullopt;
  IntervalSet missing;
  for (const auto& target : targets) {
    if (target->over() || target->has_everything()) continue;
    if (target->draws() && (target->cursor() < state.end || !target->quiet())) return std::nullopt;
    if (!target->draws()) continue;
    missing.add(target->done().gaps(0, plan.virtual_size));
  }
  if (missing.empty()) return std::nullopt;
  begin_pass(missing);
  return std::nullopt;
}

void StreamJob::Running::report() const {
  if (!on_progress) return;
  Progress progress;
  progress.source_bytes = planner->position();
  progress.virtual_size = plan.virtual_size;
  for (const auto& target : targets) progress.targets.push_back(target->progress());
  on_progress(progress);
}

Result<void> StreamJob::Running::loop() {
  auto now = now_ms();
  for (auto& target : targets) target->begin(now);
  std::uint64_t ticked = now;
  std::uint64_t reported = now;
  std::array<epoll_event, kMostTargets + 1> events;
  while (true) {
    register_sockets();
    const auto wait = static_cast<int>(kTickMs - std::min(kTickMs, now - ticked));
    const int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), wait);
    now = now_ms();
    bool notified = false;
    for (int i = 0; i < count; i++) {
      const auto which = events[static_cast<std::size_t>(i)].data.u64;
      if (which == UINT64_MAX) {
        job.wakeup_.clear();
        notified = true;
      } else {
        targets[which]->on_socket(events[static_cast<std::size_t>(i)].events, now);
      }
    }
    if (job.cancelled_.load(std::memory_order_acquire)) return std::unexpected(cancelled_fault());
    if (checksum && checksum->over() && checksum->fault()) return std::unexpected(*checksum->fault());
    if (notified) {
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
    if (now - reported >= kProgressMs) {
      reported = now;
      report();
    }
    const bool over = std::ranges::all_of(targets, [](const auto& target) { return target->over(); });
    const bool all_failed = std::ranges::all_of(targets, [](const auto& target) { return target->state() == Target::State::failed; });
    if (over && (all_failed || !checksum || checksum->over())) {
      report();
      return {};
    }
  }
}

StreamJob::StreamJob(StreamRequest request) : request_(std::move(request)) {}
StreamJob::~StreamJob() = default;

void StreamJob::cancel() {
  cancelled_.store(true, std::memory_order_release);
  wakeup_.wake();
}

Result<StreamResult> StreamJob::run(const OnProgress& on_progress) {
  if (auto checked = check(request_); !checked) return std::unexpected(std::move(checked.error()));
  const PipeSignalGuard guard;
  Running running(*this, on_progress);
  if (auto prepared = running.prepare(); !prepared) return std::unexpected(std::move(prepared.error()));
  if (auto looped = running.loop(); !looped) return std::unexpected(std::move(looped.error()));

  const bool any = std::ranges::any_of(running.targets, [](const auto& target) { return target->state() == Target::State::finished; });
  const auto identity = image::identify(running.file.fd.get());
  if (any && (!identity || *identity != running.file.identity)) return fail(FaultKind::conflict, "image.changed", "the image file changed while it was streamed", Retry::later);
  StreamResult result;
  result.virtual_size = running.plan.virtual_size;
  if (any) result.checksum = request_.source.checksum;
  for (const auto& target : running.targets) result.targets.push_back(target->result());
  return result;
}

}  // namespace ironrack::pipeline
