#include <algorithm>
#include <cstdio>

#include "pipeline/disk_probe.hpp"
#include "pipeline/scsi_outcome.hpp"
#include "pipeline/zero_method.hpp"
#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::pipeline;
using iscsi::ScsiStatus;
using iscsi::Sense;
using iscsi::SenseKey;

namespace {

constexpr std::uint64_t kMib = 1 << 20;

Disk disk_of(std::uint32_t block_size) {
  Disk disk;
  disk.capacity.block_size = block_size;
  disk.capacity.blocks = 1024 * kMib / block_size;
  return disk;
}

iscsi::Completion check_condition(SenseKey key, std::uint8_t asc, std::uint8_t ascq) {
  iscsi::Completion completion;
  completion.status = ScsiStatus::check_condition;
  completion.sense = Sense{key, asc, ascq, std::nullopt};
  return completion;
}

const Fault kRefusal{FaultKind::storage, "test.refused", "", Retry::never, {}};

std::vector<std::byte> bytes(std::initializer_list<int> values, std::size_t size) {
  std::vector<std::byte> out;
  for (const int value : values) out.push_back(static_cast<std::byte>(value));
  out.resize(size);
  return out;
}

/// Walks a run by steps and says what was done to each byte range.
std::vector<ZeroStep> walk(const Disk& disk, ZeroMethod method, Interval run) {
  std::vector<ZeroStep> steps;
  while (run.begin < run.end && steps.size() < 10000) {
    steps.push_back(first_zero_step(disk, method, run, 262144));
    CHECK(steps.back().length > 0 && steps.back().length % disk.capacity.block_size == 0 && steps.back().length <= run.end - run.begin);
    run.begin += steps.back().length;
  }
  CHECK(run.begin == run.end);
  return steps;
}

}  // namespace

RULE("discard is used only where unmapped blocks read as zeroes, and WRITE SAME before UNMAP, which is a hint") {
  auto disk = disk_of(512);
  CHECK(choose_zero_method(disk, HolePolicy::discard) == ZeroMethod::write_same);
  disk.capacity.provisioning_managed = true;
  disk.provisioning.unmap = true;
  CHECK(choose_zero_method(disk, HolePolicy::discard) == ZeroMethod::write_same);
  disk.provisioning.unmapped_reads_zero = true;
  CHECK(choose_zero_method(disk, HolePolicy::discard) == ZeroMethod::unmap);
  disk.provisioning.write_same_unmap = true;
  CHECK(choose_zero_method(disk, HolePolicy::discard) == ZeroMethod::write_same_unmap);
  CHECK(choose_zero_method(disk, HolePolicy::write_zeroes) == ZeroMethod::write_same);
  CHECK(simpler_zero_method(ZeroMethod::write_same_unmap) == ZeroMethod::write_same && simpler_zero_method(ZeroMethod::unmap) == ZeroMethod::write_same);
  CHECK(simpler_zero_method(ZeroMethod::write_same) == ZeroMethod::write);
}

RULE("only whole granules are unmapped, counted from the device's alignment; the edges are written") {
  auto disk = disk_of(512);
  disk.limits.unmap_granularity = 2048;  // 1 MiB
  disk.limits.unmap_alignment = 7;
  std::uint64_t at = 4096;
  std::uint64_t unmapped = 0;
  for (const auto& step : walk(disk, ZeroMethod::unmap, {at, 200 * kMib + 512})) {
    if (step.method == ZeroMethod::unmap) {
      CHECK((at / 512 - 7) % 2048 == 0 && step.length % kMib == 0);
      unmapped += step.length;
    } else {
      CHECK(step.method == ZeroMethod::write && step.length <= 262144);
    }
    at += step.length;
  }
  CHECK(unmapped == 198 * kMib);
}

RULE("a run shorter than a granule is written, and limits that contradict each other lead to writing too") {
  auto disk = disk_of(4096);
  disk.limits.unmap_granularity = 1024;
  CHECK(walk(disk, ZeroMethod::unmap, {0, 65536}).front().method == ZeroMethod::write);
  disk.limits.maximum_unmap_blocks = 512;
  CHECK(walk(disk, ZeroMethod::unmap, {0, 64 * kMib}).front().method == ZeroMethod::write);
}

RULE("WRITE SAME keeps to the device's limit and to what a slow disk does in seconds") {
  auto disk = disk_of(512);
  for (const auto& step : walk(disk, ZeroMethod::write_same, {512, 100 * kMib})) CHECK(step.length <= 32 * kMib);
  disk.limits.maximum_write_same_blocks = 1000;
  for (const auto& step : walk(disk, ZeroMethod::write_same, {512, kMib})) CHECK(step.length <= 512000);
}

RULE("a disk is asked for readiness, kind, limits, provisioning, capacity and write protection, in that order") {
  DiskProbe probe;
  std::string opcodes;
  const auto pages = bytes({0, 0, 0, 3, 0, 0xb0, 0xb2}, 7);
  auto limits = bytes({0, 0xb0, 0, 60}, 64);
  store_be<std::uint32_t>(&limits[8], 2048);
  auto capacity = bytes({}, 32);
  store_be<std::uint64_t>(&capacity[0], 99);
  store_be<std::uint32_t>(&capacity[8], 4096);
  for (const auto& data : {bytes({}, 0), bytes({0, 0, 6, 2, 31}, 36), pages, limits, bytes({0, 0xb2, 0, 4, 0, 0x84}, 8), capacity, bytes({3, 0, 0, 0}, 4)}) {
    CHECK(!probe.over());
    char text[8];
    std::snprintf(text, sizeof text, "%02x ", static_cast<unsigned>(probe.question().cdb[0]));
    opcodes += text;
    CHECK(probe.answer(true, data, kRefusal));
  }
  CHECK(probe.over() && opcodes == "00 12 12 12 12 9e 1a ");
  CHECK(probe.disk().size() == 409600 && probe.disk().limits.maximum_transfer_blocks == 2048 && probe.disk().provisioning.unmap && probe.disk().provisioning.unmapped_reads_zero);
}

RULE("a device that refuses what is optional is taken as it is; READ CAPACITY(10) stands in for (16)") {
  DiskProbe probe;
  CHECK(probe.answer(true, {}, kRefusal));
  CHECK(probe.answer(true, bytes({0}, 36), kRefusal));
  CHECK(probe.answer(false, {}, kRefusal));  // no page list
  CHECK(probe.answer(false, {}, kRefusal));  // no READ CAPACITY(16)
  CHECK(probe.question().cdb[0] == std::byte{0x25});
  CHECK(probe.answer(true, bytes({0, 0, 0, 9, 0, 0, 2, 0}, 8), kRefusal));
  CHECK(probe.answer(false, {}, kRefusal));  // no MODE SENSE
  CHECK(probe.over() && probe.disk().size() == 5120);
}

RULE("a tape, a missing LUN, a write-protected disk and blocks above 4096 bytes are refused") {
  DiskProbe tape;
  CHECK(tape.answer(true, {}, kRefusal));
  const auto answer = tape.answer(true, bytes({1}, 36), kRefusal);
  CHECK(!answer && answer.error().code == "scsi.not-a-disk");
  DiskProbe missing;
  CHECK(missing.answer(false, {}, kRefusal).error().code == "test.refused");
  DiskProbe large;
  CHECK(large.answer(true, {}, kRefusal) && large.answer(true, bytes({0}, 36), kRefusal) && large.answer(false, {}, kRefusal));
  auto capacity = bytes({}, 32);
  store_be<std::uint32_t>(&capacity[8], 8192);
  CHECK(large.answer(true, capacity, kRefusal).error().code == "scsi.block-size");
}

RULE("statuses and sense say whether to go on, to wait, to try again or to give up") {
  iscsi::Completion completion;
  CHECK(outcome_of(completion).kind == OutcomeKind::good);
  completion.status = ScsiStatus::busy;
  CHECK(outcome_of(completion).kind == OutcomeKind::wait && scsi_fault(completion, 5).kind == FaultKind::busy);
  completion.status = ScsiStatus::reservation_conflict;
  CHECK(outcome_of(completion).kind == OutcomeKind::fatal && scsi_fault(completion, 5).kind == FaultKind::conflict);
  completion.response = 1;
  CHECK(outcome_of(completion).kind == OutcomeKind::retry);
  CHECK(outcome_of(check_condition(SenseKey::recovered_error, 0, 0)).kind == OutcomeKind::good);
  CHECK(outcome_of(check_condition(SenseKey::unit_attention, 0x29, 0)).kind == OutcomeKind::retry);
  CHECK(outcome_of(check_condition(SenseKey::not_ready, 4, 1)).kind == OutcomeKind::wait);
  CHECK(outcome_of(check_condition(SenseKey::not_ready, 4, 3)).kind == OutcomeKind::fatal);
  CHECK(outcome_of(check_condition(SenseKey::not_ready, 0x3a, 0)).kind == OutcomeKind::fatal);
  CHECK(outcome_of(check_condition(SenseKey::illegal_request, 0x20, 0)).kind == OutcomeKind::refused);
  CHECK(outcome_of(check_condition(SenseKey::medium_error, 0x11, 0)).kind == OutcomeKind::fatal);
  CHECK(scsi_fault(check_condition(SenseKey::data_protect, 0x27, 7), 5).code == "scsi.disk-full");
  CHECK(scsi_fault(check_condition(SenseKey::data_protect, 0x27, 0), 5).kind == FaultKind::refused);
  CHECK(scsi_fault(check_condition(SenseKey::illegal_request, 0x25, 0), 5).kind == FaultKind::not_found);
  auto medium = check_condition(SenseKey::medium_error, 0x11, 0);
  medium.sense->information = 77;
  const auto fault = scsi_fault(medium, 5);
  const auto lba = std::ranges::find(fault.detail, "lba", &std::pair<std::string, Fault::Value>::first);
  CHECK(lba != fault.detail.end() && std::get<std::uint64_t>(lba->second) == 77);
}
