#include "pipeline/packed_planner.hpp"

#include <algorithm>
#include <cstring>
#include <thread>

#include "pipeline/decode_pool.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kUnpackersBytes = 20 << 20;

bool all_zero(const std::byte* bytes, std::size_t count) { return bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, count - 1) == 0; }

}  // namespace

unsigned unpackers_for(const image::PackedImage& image, unsigned processors) {
  const auto room = std::max<std::uint64_t>(1, kUnpackersBytes / image.unpacker_bytes());
  return static_cast<unsigned>(std::min({room, std::uint64_t{processors}, std::uint64_t{image.segments().size()}}));
}

Result<void> PackedPlanner::run_pass(const IntervalSet& wanted) {
  next_segment_ = 0;
  std::vector<std::thread> others;
  for (unsigned i = 1; i < parts_.workers; i++) others.emplace_back([&] { work(wanted); });
  work(wanted);
  for (auto& other : others) other.join();
  again_ = true;
  if (fault_) return std::unexpected(*fault_);
  return {};
}

void PackedPlanner::work(const IntervalSet& wanted) {
  const auto& segments = parts_.image.segments();
  while (true) {
    const auto index = next_segment_++;
    if (index >= segments.size()) return;
    const auto& segment = segments[index];
    const auto end = segment.disk_length == image::kUnknownSize ? image::kUnknownSize : segment.disk_offset + segment.disk_length;
    if (!wanted.intersects(segment.disk_offset, end)) continue;
    if (auto unpacked = unpack(segment, wanted); !unpacked) {
      const std::lock_guard lock(mutex_);
      if (!fault_) fault_ = std::move(unpacked.error());
      next_segment_ = segments.size();
      return;
    }
  }
}

Result<void> PackedPlanner::unpack(const image::Segment& segment, const IntervalSet& wanted) {
  auto unpacker = parts_.image.unpack(segment);
  if (!unpacker) return std::unexpected(std::move(unpacker.error()));
  const bool length_known = segment.disk_length != image::kUnknownSize;
  const auto end = length_known ? segment.disk_offset + segment.disk_length : image::kUnknownSize;
  std::shared_ptr<std::byte> buffer;
  Hole hole;
  auto at = segment.disk_offset;
  while (true) {
    if (!buffer) buffer = parts_.pool.acquire();
    if (!buffer || parts_.pool.closed()) return {};
    // Blocks are the same in every pass because pieces are.
    const auto room = std::span(buffer.get(), static_cast<std::size_t>(std::min(align_down(at, kCommandBytes) + kCommandBytes, end) - at));
    const auto count = (*unpacker)->read(room);
    if (!count) return std::unexpected(count.error());
    bool over = *count < room.size();
    if (at + *count == end) {
      // The end, with its checksum, is looked at before the last block is laid out: no target finishes with a damaged image.
      std::byte beyond;
      const auto more = (*unpacker)->read({&beyond, 1});
      if (!more) return std::unexpected(more.error());
      over = *more == 0;
    }
    if (length_known && over != (at + *count == end)) {
      return std::unexpected(Fault{FaultKind::malformed, "image.corrupt", "the image unpacks to another size than it states", Retry::never, {}}.with("offset", at));
    }
    if (over && !length_known) {
      if (at + *count == 0) return fail(FaultKind::malformed, "image.empty", "the image is empty");
      parts_.virtual_size.store(at + *count, std::memory_order_release);
    }
    if (*count > 0) {
      if (wanted.intersects(at, at + *count)) {
        if (!lay_out(at, buffer, *count, hole)) return {};
      } else if (!end_hole(hole)) {
        return {};
      }
      at += *count;
      auto seen = position_.load(std::memory_order_relaxed);
      while (seen < at && !position_.compare_exchange_weak(seen, at, std::memory_order_relaxed)) {}
    }
    // The first pass looks at the end in any case, for what the stream's checksums say.
    if (over || (again_ && !wanted.intersects(at, image::kUnknownSize))) break;
  }
  end_hole(hole);
  return {};
}

bool PackedPlanner::lay_out(std::uint64_t offset, std::shared_ptr<std::byte>& buffer, std::size_t count, Hole& hole) {
  const auto padded = static_cast<std::size_t>(align_up(count, kAlignment));
  std::fill(buffer.get() + count, buffer.get() + padded, std::byte{0});
  const auto zero_from = [&](std::size_t begin) {
    while (begin < padded && all_zero(buffer.get() + begin, kAlignment)) begin += kAlignment;
    return begin;
  };
  std::size_t data_begin = 0;
  bool used = false;
  const auto lay_data = [&](std::size_t end) {
    if (end == data_begin) return true;
    if (!end_hole(hole)) return false;
    auto block = std::make_shared<Block>();
    block->offset = offset + data_begin;
    block->length = std::min(end, count) - data_begin;
    block->kind = BlockKind::memory;
    block->memory = std::shared_ptr<std::byte>(buffer, buffer.get() + data_begin);
    used = true;
    if (parts_.checksums) sum_memory(*block);
    block->state.store(BlockState::ready, std::memory_order_relaxed);
    return parts_.carousel.push(std::move(block));
  };
  for (std::size_t at = 0; at < padded;) {
    const auto zero_end = zero_from(at);
    const bool continues = at == 0 && hole.end == offset && hole.end > hole.begin;
    if (zero_end - at >= kLeastZeroRun || (continues && zero_end > at)) {
      if (!lay_data(at)) return false;
      if (hole.end != offset + at || hole.end == hole.begin) hole = {offset + at, offset + at};
      hole.end = offset + std::min(zero_end, count);
      if (hole.end - hole.begin >= kMostZeroRun && !end_hole(hole)) return false;
      data_begin = zero_end;
    }
    at = std::max(zero_end, at + kAlignment);
  }
  const bool open = lay_data(padded);
  if (used) buffer.reset();
  return open;
}

bool PackedPlanner::end_hole(Hole& hole) {
  if (hole.end == hole.begin) return true;
  auto block = std::make_shared<Block>();
  block->offset = hole.begin;
  block->length = hole.end - hole.begin;
  block->state.store(BlockState::ready, std::memory_order_relaxed);
  hole = {};
  return parts_.carousel.push(std::move(block));
}

}  // namespace ironrack::pipeline
