// Checkpoints of a stream's targets in a text file, so that the tool goes on where an earlier run was stopped.
#pragma once

#include <string>
#include <vector>

#include "pipeline/request.hpp"

namespace ironrack::tool {

using Checkpoints = std::vector<std::shared_ptr<const pipeline::Checkpoint>>;

/// One for each target, null where there is none; none at all when the file is not there or is something else.
Checkpoints read_checkpoints(const std::string& path);

/// Replaces the file in one step; false when it cannot be written.
bool write_checkpoints(const std::string& path, const Checkpoints& checkpoints);

}  // namespace ironrack::tool
