// What a TFTP client sends.
#pragma once

#include "fuzz/input.hpp"

namespace ironrack::fuzz {

void fuzz_tftp(Input& input);

}  // namespace ironrack::fuzz
