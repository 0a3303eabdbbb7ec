// What commands are to do to a disk, and the list of those that a target has under way.
#pragma once

#include <deque>
#include <vector>

#include "iscsi/session.hpp"
#include "pipeline/block.hpp"
#include "pipeline/disk_probe.hpp"
#include "pipeline/zero_method.hpp"

namespace ironrack::pipeline {

enum class WorkKind : std::uint8_t { probe, write, write_zeroes, write_same, unmap, synchronize, checkpoint, read };

/// What one command does; kept until it succeeded, over any number of tries and connections.
struct Work {
  WorkKind kind = WorkKind::probe;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // bytes of the disk, a multiple of its block size
  BlockRef block;
  std::vector<std::byte> owned;  // small parameters that are sent
  std::vector<std::byte> room;   // for what is read
  std::uint32_t read_so_far = 0;
  std::size_t record = 0;
  bool inflight = false;
  int attempts = 0;
  std::uint64_t not_before_ms = 0;
};

/// How a disk wants its commands.
struct CommandForm {
  std::uint32_t block_size = 512;
  std::uint32_t command_bytes = 0;  // the most that one command reads
  bool unmap_by_write_same = false;
  bool short_synchronize = false;   // the device knows SYNCHRONIZE CACHE(10) only
};

/// The command that does `work`, whose buffers it refers to; not for probes.
iscsi::Command command_for(Work& work, const CommandForm& form);
iscsi::Command command_for(Work& work, const DiskProbe::Question& question);

/// The works of one target by slot, which is the cookie of their commands.
class WorkList {
 public:
  std::uint32_t add(Work work);
  [[nodiscard]] Work& at(std::uint32_t slot) { return works_[slot]; }

  /// Its command is given.
  void begin(std::uint32_t slot);
  /// Its command ended: to be removed, or to be given again.
  void end(std::uint32_t slot);
  Work remove(std::uint32_t slot);
  void retry(std::uint32_t slot, std::uint64_t not_before_ms);

  /// The next slot to be given again by now; of probes only when `probing`. None: std::nullopt.
  std::optional<std::uint32_t> take_retry(std::uint64_t now_ms, bool probing);

  /// The connection is gone: all that was under way is to be given again, in order of the disk; a probe begins anew.
  void interrupt();
  void clear();

  [[nodiscard]] std::size_t inflight() const { return inflight_; }
  [[nodiscard]] std::size_t inflight_bytes() const { return inflight_bytes_; }
  [[nodiscard]] bool empty() const { return inflight_ == 0 && retries_.empty(); }

 private:
  std::vector<Work> works_;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> retries_;
  std::size_t inflight_ = 0;
  std::size_t inflight_bytes_ = 0;
};

}  // namespace ironrack::pipeline
