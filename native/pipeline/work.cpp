#include "pipeline/work.hpp"

#include <algorithm>
#include <array>

namespace ironrack::pipeline {
namespace {

alignas(4096) constinit const std::array<std::byte, kCommandBytes> kZeros{};

void refer_to_block(iscsi::Command& command, const Work& work) {
  auto& block = *work.block;
  command.out.begin = static_cast<std::uint32_t>(work.offset - block.offset);
  command.out.length = static_cast<std::uint32_t>(work.length);
  command.out.piece_checksums = block.piece_checksums;
  if (block.kind == BlockKind::memory) {
    command.out.memory = block.memory.get();
    return;
  }
  command.out.file = block.file;
  command.out.parts = block.parts;
}

}  // namespace

iscsi::Command command_for(Work& work, const DiskProbe::Question& question) {
  iscsi::Command command;
  work.room.assign(question.room, std::byte{0});
  command.cdb = question.cdb;
  command.in = work.room;
  return command;
}

iscsi::Command command_for(Work& work, const CommandForm& form) {
  iscsi::Command command;
  const auto lba = work.offset / form.block_size;
  const auto blocks = static_cast<std::uint32_t>(work.length / form.block_size);
  const auto send = [&](const std::byte* bytes, std::uint64_t length) {
    command.out.memory = bytes;
    command.out.length = static_cast<std::uint32_t>(length);
  };
  switch (work.kind) {
    case WorkKind::probe: break;
    case WorkKind::write:
      command.cdb = iscsi::write_16(lba, blocks);
      refer_to_block(command, work);
      break;
    case WorkKind::write_zeroes:
      command.cdb = iscsi::write_16(lba, blocks);
      send(kZeros.data(), work.length);
      break;
    case WorkKind::write_same:
      command.cdb = iscsi::write_same_16(lba, blocks, form.unmap_by_write_same);
      send(kZeros.data(), form.block_size);
      break;
    case WorkKind::unmap:
      work.owned = iscsi::unmap_parameters(lba, blocks);
      command.cdb = iscsi::unmap(static_cast<std::uint16_t>(work.owned.size()));
      send(work.owned.data(), work.owned.size());
      break;
    case WorkKind::synchronize:
    case WorkKind::checkpoint:
      command.cdb = form.short_synchronize ? iscsi::synchronize_cache_10() : iscsi::synchronize_cache_16();
      break;
    case WorkKind::read: {
      // A record may be longer than the device's longest command: then it is read in turns.
      work.room.resize(work.length);
      const auto piece = std::min<std::uint64_t>(form.command_bytes, work.length - work.read_so_far);
      command.cdb = iscsi::read_16((work.offset + work.read_so_far) / form.block_size, static_cast<std::uint32_t>(piece / form.block_size));
      command.in = std::span(work.room).subspan(work.read_so_far, piece);
      break;
    }
  }
  return command;
}

std::uint32_t WorkList::add(Work work) {
  if (free_.empty()) {
    works_.push_back(std::move(work));
    return static_cast<std::uint32_t>(works_.size() - 1);
  }
  const auto slot = free_.back();
  free_.pop_back();
  works_[slot] = std::move(work);
  return slot;
}

void WorkList::begin(std::uint32_t slot) {
  works_[slot].inflight = true;
  inflight_++;
  inflight_bytes_ += works_[slot].length;
}

void WorkList::end(std::uint32_t slot) {
  works_[slot].inflight = false;
  inflight_--;
  inflight_bytes_ -= works_[slot].length;
}

Work WorkList::remove(std::uint32_t slot) {
  free_.push_back(slot);
  return std::exchange(works_[slot], Work{});
}

void WorkList::retry(std::uint32_t slot, std::uint64_t not_before_ms) {
  works_[slot].not_before_ms = not_before_ms;
  retries_.push_back(slot);
}

std::optional<std::uint32_t> WorkList::take_retry(std::uint64_t now_ms, bool probing) {
  const auto found = std::ranges::find_if(retries_, [&](std::uint32_t slot) { return works_[slot].not_before_ms <= now_ms && (!probing || works_[slot].kind == WorkKind::probe); });
  if (found == retries_.end()) return std::nullopt;
  const auto slot = *found;
  retries_.erase(found);
  return slot;
}

void WorkList::interrupt() {
  for (std::uint32_t slot = 0; slot < works_.size(); slot++) {
    auto& work = works_[slot];
    if (!work.inflight) continue;
    work.inflight = false;
    work.read_so_far = 0;
    if (work.kind == WorkKind::probe) free_.push_back(slot);
    else retries_.push_back(slot);
  }
  inflight_ = 0;
  inflight_bytes_ = 0;
  std::ranges::sort(retries_, {}, [&](std::uint32_t slot) { return works_[slot].offset; });
}

void WorkList::clear() {
  works_.clear();
  free_.clear();
  retries_.clear();
  inflight_ = 0;
  inflight_bytes_ = 0;
}

}  // namespace ironrack::pipeline
