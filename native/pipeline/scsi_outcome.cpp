#include "pipeline/scsi_outcome.hpp"

namespace ironrack::pipeline {
namespace {

using iscsi::ScsiStatus;
using iscsi::SenseKey;

constexpr std::uint64_t kBusyMs = 50;
constexpr std::uint64_t kNotReadyMs = 500;

Outcome outcome_of(const iscsi::Sense& sense) {
  switch (sense.key) {
    case SenseKey::no_sense:
    case SenseKey::recovered_error: return {OutcomeKind::good};
    case SenseKey::illegal_request: return {OutcomeKind::refused};
    case SenseKey::unit_attention: return {OutcomeKind::retry};
    case SenseKey::aborted_command: return {OutcomeKind::retry, kBusyMs};
    case SenseKey::not_ready:
      // 04h: becoming ready, or an operation in progress; 02h and 03h of it need somebody to do something.
      if (sense.asc == 0x04 && sense.ascq != 0x02 && sense.ascq != 0x03) return {OutcomeKind::wait, kNotReadyMs};
      return {OutcomeKind::fatal};
    default: return {OutcomeKind::fatal};
  }
}

struct Row {
  SenseKey key;
  FaultKind kind;
  const char* code;
};

constexpr Row kRows[] = {
    {SenseKey::not_ready, FaultKind::storage, "scsi.not-ready"},
    {SenseKey::medium_error, FaultKind::storage, "scsi.medium-error"},
    {SenseKey::hardware_error, FaultKind::storage, "scsi.hardware-error"},
    {SenseKey::illegal_request, FaultKind::storage, "scsi.illegal-request"},
    {SenseKey::unit_attention, FaultKind::storage, "scsi.unit-attention"},
    {SenseKey::data_protect, FaultKind::refused, "scsi.write-protected"},
    {SenseKey::aborted_command, FaultKind::storage, "scsi.aborted"},
};

}  // namespace

Outcome outcome_of(const iscsi::Completion& completion) {
  if (completion.response != 0) return {OutcomeKind::retry, kNotReadyMs};
  switch (completion.status) {
    case ScsiStatus::good:
    case ScsiStatus::condition_met: return {OutcomeKind::good};
    case ScsiStatus::busy:
    case ScsiStatus::task_set_full: return {OutcomeKind::wait, kBusyMs};
    case ScsiStatus::task_aborted: return {OutcomeKind::retry, kBusyMs};
    case ScsiStatus::check_condition: return completion.sense ? outcome_of(*completion.sense) : Outcome{OutcomeKind::fatal};
    default: return {OutcomeKind::fatal};
  }
}

Fault scsi_fault(const iscsi::Completion& completion, std::uint64_t lba) {
  if (completion.response != 0) {
    return Fault{FaultKind::storage, "iscsi.target-failure", "the target could not execute a command", Retry::never, {}}.with("response", std::uint64_t{completion.response});
  }
  Fault fault{FaultKind::storage, "scsi.failed", "the target's disk refuses a command", Retry::never, {}};
  fault.detail.emplace_back("status", std::uint64_t{static_cast<std::uint8_t>(completion.status)});
  fault.detail.emplace_back("lba", completion.sense && completion.sense->information ? *completion.sense->information : lba);
  if (completion.status == ScsiStatus::reservation_conflict) {
    fault.kind = FaultKind::conflict;
    fault.code = "scsi.reservation-conflict";
    fault.message = "the disk is reserved by another initiator";
  }
  if (completion.status == ScsiStatus::busy || completion.status == ScsiStatus::task_set_full) {
    fault.kind = FaultKind::busy;
    fault.code = "scsi.busy";
    fault.message = "the target's disk stays busy";
    fault.retry = Retry::later;
  }
  if (completion.status != ScsiStatus::check_condition || !completion.sense) return fault;

  const auto& sense = *completion.sense;
  fault.detail.emplace_back("sense_key", std::uint64_t{static_cast<std::uint8_t>(sense.key)});
  fault.detail.emplace_back("asc", std::uint64_t{sense.asc});
  fault.detail.emplace_back("ascq", std::uint64_t{sense.ascq});
  fault.message = "the target's disk answers " + iscsi::describe(sense);
  for (const auto& row : kRows) {
    if (row.key != sense.key) continue;
    fault.kind = row.kind;
    fault.code = row.code;
  }
  if (sense.key == SenseKey::data_protect && sense.asc == 0x27 && sense.ascq == 0x07) fault.code = "scsi.disk-full";
  if (sense.key == SenseKey::illegal_request && sense.asc == 0x25) {
    fault.kind = FaultKind::not_found;
    fault.code = "scsi.lun-not-found";
    fault.message = "the target has no such LUN";
  }
  return fault;
}

}  // namespace ironrack::pipeline
