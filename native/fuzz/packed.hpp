// Compressed images, valid ones with changes: each format's framing and its decoder.
#pragma once

#include "fuzz/input.hpp"

namespace ironrack::fuzz {

void fuzz_gzip(Input& input);
void fuzz_zstd(Input& input);
void fuzz_xz(Input& input);
void fuzz_bzip2(Input& input);

}  // namespace ironrack::fuzz
