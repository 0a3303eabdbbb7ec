// What a target sends: PDUs, text keys, and whole exchanges with it.
#pragma once

#include "fuzz/input.hpp"

namespace ironrack::fuzz {

void fuzz_pdu(Input& input);
void fuzz_text(Input& input);
void fuzz_session(Input& input);
void fuzz_login(Input& input);
void fuzz_scsi(Input& input);

}  // namespace ironrack::fuzz
