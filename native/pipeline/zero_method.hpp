// How a run of zeroes gets onto a disk: by which command, and how much of it at a time.
#pragma once

#include "bytes/interval_set.hpp"
#include "pipeline/disk_probe.hpp"
#include "pipeline/request.hpp"

namespace ironrack::pipeline {

enum class ZeroMethod : std::uint8_t { write_same_unmap, unmap, write_same, write };

/// The method that leaves zeroes for certain and costs least.
ZeroMethod choose_zero_method(const Disk& disk, HolePolicy policy);

/// What to try when the disk refuses the method after all.
ZeroMethod simpler_zero_method(ZeroMethod method);

struct ZeroStep {
  ZeroMethod method;     // for this step: the edges of an unmapped run are written
  std::uint64_t length;  // bytes from the run's begin
};

/// The first step over a run, whose ends are multiples of the block size. `command_bytes` bounds a step that sends zeroes.
ZeroStep first_zero_step(const Disk& disk, ZeroMethod method, Interval run, std::uint32_t command_bytes);

}  // namespace ironrack::pipeline
