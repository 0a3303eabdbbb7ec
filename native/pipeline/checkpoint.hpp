// What of an image is safe on a disk, in a form that outlives the process: a later job that is given it goes on from there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bytes/interval_set.hpp"

namespace ironrack::pipeline {

/// Bytes of the disk and their CRC32C.
struct Record {
  std::uint64_t offset;
  std::uint32_t length;
  std::uint32_t checksum;
  bool operator==(const Record&) const = default;
};

struct Checkpoint {
  std::string image;              // which image, and by which policy its holes were written
  std::string disk;               // which disk
  std::vector<Interval> extents;  // synchronized: they survive a loss of power
  std::vector<Record> samples;    // of them: the next job reads these back before it believes the rest
};

/// True when the extents rise, lie within `size` and end at multiples of `block_size` or at `size`, and the samples lie in them.
bool is_sound(const Checkpoint& checkpoint, std::uint64_t size, std::uint32_t block_size);

/// Decides when a disk is asked to synchronize, and what that makes safe. One for each target; takes what the disk acknowledged,
/// gives checkpoints. Commands are its owner's.
class Checkpointer {
 public:
  /// True when it is time to synchronize: not while one is on its way, and not for more than about a tenth of the time.
  [[nodiscard]] bool due(std::uint64_t now_ms) const { return !pending_ && now_ms >= next_ms_; }
  /// A write was acknowledged: true when its bytes should be handed to add_sample().
  [[nodiscard]] bool wants_sample() const { return countdown_ == 0; }
  void add_sample(Record sample);
  /// SYNCHRONIZE CACHE is given now: it covers `done`, what was acknowledged before.
  void begin(std::string image, std::string disk, const IntervalSet& done, std::uint64_t now_ms);
  /// It was answered.
  void end(std::uint64_t now_ms);
  /// What an earlier job had sampled belongs to this one's checkpoints.
  void adopt(const std::vector<Record>& samples) { samples_ = samples; }

  /// The newest; null before the first. A new object for each.
  [[nodiscard]] const std::shared_ptr<const Checkpoint>& latest() const { return latest_; }

 private:
  std::vector<Record> samples_;
  unsigned stride_ = 1;     // one sample every so many checkpoints
  unsigned countdown_ = 0;  // checkpoints until the next sample
  std::shared_ptr<Checkpoint> pending_;
  std::shared_ptr<const Checkpoint> latest_;
  std::uint64_t begun_ms_ = 0;
  std::uint64_t next_ms_ = 0;
};

}  // namespace ironrack::pipeline
