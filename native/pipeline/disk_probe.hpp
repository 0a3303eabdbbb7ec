// Looks at a disk before anything is written to it: a machine of SCSI commands and answers, without a session.
#pragma once

#include <string>

#include "iscsi/scsi.hpp"

namespace ironrack::pipeline {

/// What is known of a disk.
struct Disk {
  iscsi::Capacity capacity;
  iscsi::BlockLimits limits;
  iscsi::Provisioning provisioning;
  std::string name;  // vendor, product and, where it tells one, serial number

  /// Says which disk this is, as far as it can be told apart; for comparing only.
  [[nodiscard]] std::string identity() const { return std::to_string(capacity.blocks) + "*" + std::to_string(capacity.block_size) + " " + name; }
  [[nodiscard]] std::uint64_t size() const { return capacity.blocks * capacity.block_size; }
  [[nodiscard]] std::uint64_t round_up(std::uint64_t bytes) const { return (bytes + capacity.block_size - 1) / capacity.block_size * capacity.block_size; }
};

Fault disk_too_small(std::uint64_t disk_bytes, std::uint64_t image_bytes);

class DiskProbe {
 public:
  struct Question {
    iscsi::Cdb cdb{};
    std::uint32_t room = 0;  // bytes of the answer that are wanted
  };

  /// The next command to give; none once over().
  [[nodiscard]] Question question() const;

  /// Takes the answer: `good`, or a refusal (ILLEGAL REQUEST), which is `refusal` where the disk must know the command.
  Result<void> answer(bool good, ByteSpan data, const Fault& refusal);

  [[nodiscard]] bool over() const { return step_ == Step::over; }
  [[nodiscard]] const Disk& disk() const { return disk_; }

 private:
  enum class Step : std::uint8_t { test_unit_ready, inquiry, pages, serial, limits, provisioning, capacity_16, capacity_10, mode_sense, over };

  [[nodiscard]] Step after_serial() const { return has_limits_ ? Step::limits : has_provisioning_ ? Step::provisioning : Step::capacity_16; }

  Step step_ = Step::test_unit_ready;
  bool has_serial_ = false;
  bool has_limits_ = false;
  bool has_provisioning_ = false;
  Disk disk_;
};

}  // namespace ironrack::pipeline
