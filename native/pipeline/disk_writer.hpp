// Cuts blocks from the carousel into writes for one disk, and keeps what of the image that disk has.
#pragma once

#include <optional>
#include <vector>

#include "bytes/interval_set.hpp"
#include "pipeline/disk_probe.hpp"
#include "pipeline/target_plan.hpp"
#include "pipeline/work.hpp"
#include "pipeline/zero_method.hpp"

namespace ironrack::pipeline {

class DiskWriter {
 public:
  explicit DiskWriter(const TargetPlan& plan) : plan_(plan) {}

  /// The disk is known; before anything else.
  void use(const Disk& disk);
  /// The longest write of data, from now on.
  void write_at_most(std::uint32_t bytes) { most_bytes_ = bytes; }
  /// These bytes are on the disk already.
  void adopt(const std::vector<Interval>& extents);

  /// The next write; none while there is no block to take (then it is idle()), or when the image is at fault.
  std::optional<Work> next();
  /// A write ended; a zeroing command that the disk refused comes again in a simpler form.
  void ended(const Work& work, bool good);
  /// Lets go of all blocks.
  void clear();

  /// The next block it will look at.
  [[nodiscard]] std::uint64_t cursor() const { return cursor_; }
  /// It has taken all blocks there are and could take more.
  [[nodiscard]] bool idle() const { return idle_; }
  void set_busy() { idle_ = false; }
  /// It holds no block that is not cut up yet.
  [[nodiscard]] bool quiet() const { return !zero_run_ && zero_backlog_.empty() && !current_; }
  [[nodiscard]] const IntervalSet& done() const { return done_; }
  [[nodiscard]] bool has_everything() const { return done_.contains(0, plan_.virtual_size); }
  [[nodiscard]] std::uint64_t written() const { return written_; }
  [[nodiscard]] std::uint64_t skipped() const { return skipped_; }
  [[nodiscard]] bool unmaps_by_write_same() const { return zero_method_ == ZeroMethod::write_same_unmap; }
  /// The longest command that reads or zeroes.
  [[nodiscard]] std::uint32_t command_bytes() const { return within_limits(kCommandBytes); }
  [[nodiscard]] const std::optional<Fault>& source_fault() const { return source_fault_; }
  [[nodiscard]] const std::optional<Fault>& disk_fault() const { return disk_fault_; }

 private:
  bool take_block();
  std::optional<Work> part_of_block();
  std::optional<Work> zeroes();
  [[nodiscard]] std::uint32_t within_limits(std::uint32_t bytes) const;
  void note_done(std::uint64_t offset, std::uint64_t length, std::uint64_t& counter);

  const TargetPlan& plan_;
  Disk disk_;
  ZeroMethod zero_method_ = ZeroMethod::write;
  std::uint32_t most_bytes_ = kCommandBytes;
  std::uint64_t cursor_ = 0;
  BlockRef current_;              // the block being split into commands
  std::uint64_t current_at_ = 0;  // how far
  std::optional<Interval> zero_run_;
  std::vector<Interval> zero_backlog_;  // runs that the device refused to zero by command
  bool idle_ = false;
  IntervalSet done_;
  std::uint64_t written_ = 0;
  std::uint64_t skipped_ = 0;
  std::optional<Fault> source_fault_;
  std::optional<Fault> disk_fault_;
};

}  // namespace ironrack::pipeline
