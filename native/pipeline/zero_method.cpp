#include "pipeline/zero_method.hpp"

#include <algorithm>

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kMostBytes = 32 << 20;  // by one command: seconds on a slow disk, not minutes

}  // namespace

ZeroMethod choose_zero_method(const Disk& disk, HolePolicy policy) {
  // An unmapped block may return anything unless LBPRZ says zeroes; then a discard would not be a copy of the image. WRITE SAME
  // with UNMAP is preferred: it zeroes what the device does not care to unmap, where UNMAP itself is only a hint.
  const bool zero_when_unmapped = disk.capacity.unmapped_reads_zero || disk.provisioning.unmapped_reads_zero;
  if (policy == HolePolicy::discard && disk.capacity.provisioning_managed && zero_when_unmapped) {
    if (disk.provisioning.write_same_unmap) return ZeroMethod::write_same_unmap;
    if (disk.provisioning.unmap) return ZeroMethod::unmap;
  }
  return ZeroMethod::write_same;
}

ZeroMethod simpler_zero_method(ZeroMethod method) {
  return method == ZeroMethod::write_same || method == ZeroMethod::write ? ZeroMethod::write : ZeroMethod::write_same;
}

ZeroStep first_zero_step(const Disk& disk, ZeroMethod method, Interval run, std::uint32_t command_bytes) {
  const std::uint64_t block_size = disk.capacity.block_size;
  const std::uint64_t length = run.end - run.begin;
  const ZeroStep written{ZeroMethod::write, std::min<std::uint64_t>(length, command_bytes)};
  switch (method) {
    case ZeroMethod::write: return written;
    case ZeroMethod::write_same:
    case ZeroMethod::write_same_unmap: {
      const auto limit = disk.limits.maximum_write_same_blocks == 0 ? kMostBytes : std::min(kMostBytes / block_size, disk.limits.maximum_write_same_blocks) * block_size;
      return {method, std::min(length, limit)};
    }
    case ZeroMethod::unmap: break;
  }
  // Only whole granules can be unmapped (SBC-4 §4.7.3.5).
  const std::uint64_t granule = std::max<std::uint64_t>(1, disk.limits.unmap_granularity) * block_size;
  const std::uint64_t skew = disk.limits.unmap_alignment * block_size % granule;
  const std::uint64_t into = (run.begin % granule + granule - skew) % granule;
  if (into != 0) return {ZeroMethod::write, std::min(written.length, granule - into)};
  if (length < granule) return written;
  auto limit = std::min(length, std::max(kMostBytes, granule));
  if (disk.limits.maximum_unmap_blocks != 0) limit = std::min(limit, disk.limits.maximum_unmap_blocks * block_size);
  if (limit < granule) return written;  // the limit contradicts the granularity
  return {ZeroMethod::unmap, limit / granule * granule};
}

}  // namespace ironrack::pipeline
