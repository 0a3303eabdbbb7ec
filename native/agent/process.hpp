// Runs one of the ramdisk's small programs.
#pragma once

#include "fault.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace agent {

// Runs `arguments[0]` (searched in PATH) with `input` on its standard input and answers what it printed on both
// outputs, at most 64 KiB. Any status but 0 is a fault with that text; past the deadline the program is killed.
Result<std::string> run_process(const std::vector<std::string>& arguments, std::string_view input, std::chrono::seconds deadline);

}  // namespace agent
