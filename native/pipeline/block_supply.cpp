#include "pipeline/block_supply.hpp"

#include <algorithm>

#include "pipeline/extent_planner.hpp"
#include "pipeline/packed_planner.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::size_t kMostBlocks = 128;  // on the carousel
constexpr unsigned kMostDecoders = 16;
constexpr std::size_t kSpareBytes = 8 << 20;
constexpr std::size_t kPackedSpareBytes = 4 << 20;  // unpackers keep something themselves

/// The pool holds all windows, and something to go on with when all of them stand still.
std::size_t pool_buffers(std::size_t targets, std::size_t bytes, std::size_t spare_bytes) { return (window_bytes(targets) * targets + spare_bytes) / bytes; }

}  // namespace

std::size_t window_bytes(std::size_t targets) { return targets <= 2 ? 8 << 20 : targets <= 8 ? 4 << 20 : 2 << 20; }

BlockSupply::BlockSupply(const StreamedImage& image, std::atomic<std::uint64_t>& virtual_size, bool checksums, Wakeup& wakeup)
    : carousel_(kMostBlocks, wakeup) {
  const auto processors = std::clamp(std::thread::hardware_concurrency(), 1u, kMostDecoders);
  const auto* packed = image.packed();
  const auto bytes = packed ? std::size_t{kCommandBytes} : block_bytes(*image.source());
  spare_bytes_ = packed ? kPackedSpareBytes : std::max<std::size_t>(kSpareBytes, 8 * bytes);
  pool_ = std::make_unique<BufferPool>(pool_buffers(kMostTargets, bytes, spare_bytes_), bytes);
  if (packed) {
    planner_ = std::make_unique<PackedPlanner>(PackedPlanner::Parts{*packed, carousel_, *pool_, virtual_size, unpackers_for(*packed, processors), checksums});
    return;
  }
  auto& source = *image.source();
  const unsigned workers = source.decode_unit() == 0 && !checksums ? 1 : processors;
  decoders_ = std::make_unique<DecodePool>(workers, source.decode_unit(), image.file(), checksums, carousel_);
  planner_ = std::make_unique<ExtentPlanner>(ExtentPlanner::Parts{source, carousel_, *pool_, *decoders_, checksums});
}

void BlockSupply::allow(std::size_t targets) { pool_->allow(pool_buffers(targets, pool_->buffer_size(), spare_bytes_)); }

void BlockSupply::begin_pass(const IntervalSet& wanted) {
  if (planning_.joinable()) planning_.join();
  carousel_.begin_pass();
  carousel_.want_notice();  // nobody has looked for blocks yet
  planning_ = std::thread([this, wanted] {
    auto passed = planner_->run_pass(wanted);
    if (!passed) fault_ = std::move(passed.error());
    carousel_.end_pass();
  });
}

BlockSupply::~BlockSupply() {
  pool_->close();
  carousel_.close();
  if (decoders_) decoders_->close();
  if (planning_.joinable()) planning_.join();
}

}  // namespace ironrack::pipeline
