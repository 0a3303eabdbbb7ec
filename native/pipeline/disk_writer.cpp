#include "pipeline/disk_writer.hpp"

#include <algorithm>

namespace ironrack::pipeline {

void DiskWriter::use(const Disk& disk) {
  disk_ = disk;
  zero_method_ = choose_zero_method(disk, plan_.policy);
}

void DiskWriter::adopt(const std::vector<Interval>& extents) {
  for (const auto& [begin, end] : extents) done_.add(begin, end);
}

std::uint32_t DiskWriter::within_limits(std::uint32_t bytes) const {
  if (disk_.limits.maximum_transfer_blocks == 0) return bytes;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, std::uint64_t{disk_.limits.maximum_transfer_blocks} * disk_.capacity.block_size));
}

std::optional<Work> DiskWriter::next() {
  idle_ = false;
  while (true) {
    if (!zero_run_ && !zero_backlog_.empty()) {
      zero_run_ = zero_backlog_.back();
      zero_backlog_.pop_back();
    }
    if (!zero_run_ && !current_ && !take_block()) return std::nullopt;
    auto work = zero_run_ ? zeroes() : current_ ? part_of_block() : std::nullopt;
    if (work) return work;
  }
}

/// False when there is no block to take now.
bool DiskWriter::take_block() {
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
  if (block->offset + block->length > disk_.size()) {
    disk_fault_ = disk_too_small(disk_.size(), block->offset + block->length);  // of an image that did not tell its size before
    return false;
  }
  cursor_++;
  if (block->kind != BlockKind::zero) {
    current_at_ = block->offset;
    current_ = std::move(block);
  } else if (plan_.policy == HolePolicy::disk_is_blank) {
    note_done(block->offset, block->length, skipped_);
  } else {
    zero_run_ = Interval{block->offset, block->offset + block->length};
  }
  return true;
}

std::optional<Work> DiskWriter::part_of_block() {
  const auto end = current_->offset + current_->length;
  const auto gap = done_.first_gap(current_at_, end);
  if (gap.begin >= gap.end) {
    current_.reset();
    return std::nullopt;
  }
  const auto length = std::min<std::uint64_t>(gap.end - gap.begin, within_limits(most_bytes_));
  current_at_ = gap.begin + length;
  return Work{.kind = WorkKind::write, .offset = gap.begin, .length = disk_.round_up(length), .block = current_};
}

std::optional<Work> DiskWriter::zeroes() {
  auto& run = *zero_run_;
  // Nothing behind the image's end is ever noted as done, though the last block reaches beyond it.
  const auto gap = done_.first_gap(run.begin, std::min(run.end, plan_.virtual_size.load(std::memory_order_acquire)));
  if (gap.begin >= gap.end) {
    zero_run_.reset();
    return std::nullopt;
  }
  const auto step = first_zero_step(disk_, zero_method_, {gap.begin, disk_.round_up(gap.end)}, command_bytes());
  run.begin = gap.begin + step.length;
  const auto kind = step.method == ZeroMethod::write ? WorkKind::write_zeroes : step.method == ZeroMethod::unmap ? WorkKind::unmap : WorkKind::write_same;
  return Work{.kind = kind, .offset = gap.begin, .length = step.length};
}

void DiskWriter::ended(const Work& work, bool good) {
  if (work.kind == WorkKind::write) return note_done(work.offset, work.length, written_);
  if (good) return note_done(work.offset, work.length, skipped_);
  zero_method_ = simpler_zero_method(zero_method_);
  zero_backlog_.push_back({work.offset, work.offset + work.length});
}

void DiskWriter::note_done(std::uint64_t offset, std::uint64_t length, std::uint64_t& counter) {
  const auto end = std::min(offset + length, plan_.virtual_size.load(std::memory_order_acquire));
  if (end > offset && !done_.contains(offset, end)) counter += end - offset;
  done_.add(offset, end);
}

void DiskWriter::clear() {
  current_.reset();
  zero_run_.reset();
  zero_backlog_.clear();
}

}  // namespace ironrack::pipeline
