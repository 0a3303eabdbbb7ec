// Images that qemu-img reads for us: the look that is taken at them first.
#pragma once

#include "fuzz/input.hpp"

namespace ironrack::fuzz {

void fuzz_vmdk(Input& input);
void fuzz_vhdx(Input& input);
void fuzz_vdi(Input& input);

}  // namespace ironrack::fuzz
