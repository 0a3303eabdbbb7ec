// qcow2: header and table entries as such, and whole images.
#pragma once

#include "fuzz/input.hpp"

namespace ironrack::fuzz {

void fuzz_qcow2(Input& input);
void fuzz_qcow2_disk(Input& input);

}  // namespace ironrack::fuzz
