// A qcow2 header and table entries.
#pragma once

#include "fuzz/input.hpp"

namespace ironrack::fuzz {

void fuzz_qcow2(Input& input);

}  // namespace ironrack::fuzz
