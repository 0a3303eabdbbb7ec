#include "pipeline/checkpoint.hpp"

#include <algorithm>
#include <utility>

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kLeastPauseMs = 1000;
constexpr std::uint64_t kPauseFactor = 10;  // of the time that the last synchronization took
constexpr std::size_t kMostExtents = 256;   // what is left out is only written again
constexpr std::size_t kMostSamples = 16;

}  // namespace

bool is_sound(const Checkpoint& checkpoint, std::uint64_t size, std::uint32_t block_size) {
  IntervalSet safe;
  std::uint64_t at = 0;
  for (const auto& [begin, end] : checkpoint.extents) {
    if (begin < at || end <= begin || end > size || begin % block_size != 0 || (end % block_size != 0 && end != size)) return false;
    safe.add(begin, end);
    at = end;
  }
  return std::ranges::all_of(checkpoint.samples, [&](const Record& sample) {
    return sample.length > 0 && sample.offset % block_size == 0 && sample.offset < size && sample.length <= size - sample.offset && safe.contains(sample.offset, sample.offset + sample.length);
  });
}

void Checkpointer::add_sample(Record sample) {
  samples_.push_back(sample);
  countdown_ = stride_;
  if (samples_.size() < kMostSamples) return;
  // Every other one goes, and from now on they are taken half as often: they stay spread over all that was written.
  std::vector<Record> kept;
  for (std::size_t i = 0; i < samples_.size(); i += 2) kept.push_back(samples_[i]);
  samples_ = std::move(kept);
  stride_ *= 2;
}

void Checkpointer::begin(std::string image, std::string disk, const IntervalSet& done, std::uint64_t now_ms) {
  begun_ms_ = now_ms;
  pending_ = std::make_shared<Checkpoint>(Checkpoint{std::move(image), std::move(disk), done.list(), samples_});
  auto& extents = pending_->extents;
  if (extents.size() <= kMostExtents) return;
  std::ranges::nth_element(extents, extents.begin() + kMostExtents, std::greater(), [](const Interval& one) { return one.end - one.begin; });
  extents.resize(kMostExtents);
  std::ranges::sort(extents, {}, &Interval::begin);
  IntervalSet left;
  for (const auto& [begin, end] : extents) left.add(begin, end);
  std::erase_if(pending_->samples, [&](const Record& sample) { return !left.contains(sample.offset, sample.offset + sample.length); });
}

void Checkpointer::end(std::uint64_t now_ms) {
  if (!pending_) return;
  latest_ = std::exchange(pending_, nullptr);
  next_ms_ = now_ms + std::max(kLeastPauseMs, kPauseFactor * (now_ms - begun_ms_));
  if (countdown_ > 0) countdown_--;
}

}  // namespace ironrack::pipeline
