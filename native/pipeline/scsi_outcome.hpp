// What the end of a SCSI command means for its giver.
#pragma once

#include <optional>

#include "iscsi/session.hpp"

namespace ironrack::pipeline {

enum class OutcomeKind : std::uint8_t {
  good,
  refused,  // ILLEGAL REQUEST: the device does not know the command, or not like this
  retry,    // may be given again; a command that ends so again and again has failed
  wait,     // the device is busy or not ready yet, for as long as one has patience
  fatal,
};

struct Outcome {
  OutcomeKind kind = OutcomeKind::good;
  std::uint64_t pause_ms = 0;  // before giving it again
};

Outcome outcome_of(const iscsi::Completion& completion);

/// The fault for an outcome that is not good. `lba` is where the command began; sense may know better.
Fault scsi_fault(const iscsi::Completion& completion, std::uint64_t lba);

}  // namespace ironrack::pipeline
