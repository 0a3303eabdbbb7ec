#include "pipeline/extent_planner.hpp"

#include <algorithm>

#include "image/read_ahead.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kReadAhead = 8 << 20;

void cut_at(Block& block, std::uint64_t end) {
  while (block.extents.back().offset >= end) block.extents.pop_back();
  block.extents.back().length = end - block.extents.back().offset;
  block.length = end - block.offset;
}

}  // namespace

std::size_t block_bytes(const image::Source& source) { return std::max<std::size_t>(kCommandBytes, source.decode_unit()); }

ExtentPlanner::ExtentPlanner(Parts parts) : parts_(parts), size_(parts.source.virtual_size()), block_bytes_(block_bytes(parts.source)) {}

Result<image::Extent> ExtentPlanner::extent_at(std::uint64_t offset) {
  const auto end = current_.offset + current_.length;
  if (offset < current_.offset || offset >= end || (current_.kind != image::ExtentKind::zero && current_.kind != image::ExtentKind::file)) {
    auto found = parts_.source.extent_at(offset);
    if (!found) return found;
    current_ = *found;
    if (current_.kind == image::ExtentKind::file) {
      image::read_ahead(parts_.source.file(), current_.file_offset, std::min(current_.length, kReadAhead));
    }
    return current_;
  }
  auto rest = current_;
  rest.offset = offset;
  rest.length = end - offset;
  if (rest.kind == image::ExtentKind::file) rest.file_offset += offset - current_.offset;
  return rest;
}

Result<BlockRef> ExtentPlanner::next_block(std::uint64_t offset) {
  auto block = std::make_shared<Block>();
  block->offset = offset;

  auto first = extent_at(offset);
  if (!first) return std::unexpected(std::move(first.error()));
  if (first->kind == image::ExtentKind::zero) {
    auto end = first->offset + first->length;
    if (end < size_) end = align_down(end, kAlignment);
    end = std::min(end, offset + kMostZeroRun);
    if (end > offset && (end - offset >= kLeastZeroRun || end == size_)) {
      block->length = end - offset;
      block->state.store(BlockState::ready, std::memory_order_relaxed);
      return block;
    }
  }

  // What fits into a buffer; stored bytes, which need none, go on to a longer one.
  const auto buffered = std::min(size_, align_down(offset, block_bytes_) + block_bytes_);
  auto limit = std::max(buffered, std::min(size_, align_down(offset, kMostCommandBytes) + kMostCommandBytes));
  bool stored = true;
  bool ends_stored = true;  // what follows is stored too, or a hole
  auto at = offset;
  while (at < limit) {
    auto extent = extent_at(at);
    if (!extent) return std::unexpected(std::move(extent.error()));
    auto end = std::min(limit, extent->offset + extent->length);
    if (extent->kind == image::ExtentKind::zero) {
      const auto run_begin = align_up(at, kAlignment);
      const auto run_end = extent->offset + extent->length;
      const bool long_run = run_end > run_begin && (run_end - run_begin >= kLeastZeroRun || run_end == size_);
      if (long_run) {
        if (run_begin == at) break;
        end = std::min(end, run_begin);
      }
    }
    if (extent->kind != image::ExtentKind::file) {
      if (at >= buffered) {
        ends_stored = false;
        break;
      }
      stored = false;
      limit = buffered;
      end = std::min(end, limit);
    }
    extent->length = end - at;
    block->extents.push_back(*extent);
    at = end;
  }
  block->length = at - offset;
  // Bytes that have to be put together in a buffer share it with the stored ones around them, so that blocks are the same in every pass.
  if (at > buffered && (!ends_stored || at % kAlignment != 0)) cut_at(*block, align_down(at, block_bytes_));

  if (stored && block->length % kAlignment == 0) {
    block->kind = BlockKind::file;
    block->file = parts_.source.file();
    for (const auto& extent : block->extents) {
      auto& parts = block->parts;
      if (!parts.empty() && parts.back().file_offset + parts.back().length == extent.file_offset) {
        parts.back().length += static_cast<std::uint32_t>(extent.length);
      } else {
        parts.push_back({extent.file_offset, static_cast<std::uint32_t>(extent.length)});
      }
      image::read_ahead(block->file, extent.file_offset + kReadAhead, extent.length);
    }
    block->extents = {};
    if (!parts_.checksums) block->state.store(BlockState::ready, std::memory_order_relaxed);
  } else {
    block->kind = BlockKind::memory;
  }
  return block;
}

Result<void> ExtentPlanner::run_pass(const IntervalSet& wanted) {
  std::uint64_t offset = 0;
  for (const auto& [begin, end] : wanted.list()) {
    // Blocks begin at multiples of their size, or behind a run of zeroes: where a cluster begins in any case.
    offset = std::max(offset, align_down(begin, block_bytes_));
    while (offset < end) {
      auto block = next_block(offset);
      if (!block) return std::unexpected(std::move(block.error()));
      if ((*block)->kind == BlockKind::memory) {
        (*block)->memory = parts_.pool.acquire();
        if ((*block)->memory == nullptr) return {};
      }
      offset += (*block)->length;
      position_.store(std::max(position_.load(std::memory_order_relaxed), offset), std::memory_order_relaxed);
      if (!parts_.carousel.push(*block)) return {};
      if ((*block)->state.load(std::memory_order_relaxed) == BlockState::pending) parts_.decoders.submit(std::move(*block));
    }
  }
  return {};
}

}  // namespace ironrack::pipeline
