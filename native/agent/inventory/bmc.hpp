#pragma once

#include "../json_reader.hpp"
#include "../machine.hpp"

namespace agent {

// {bmc_address, bmc_mac}: asked from the machine's own BMC through the kernel's IPMI device; null where there is none.
Json collect_bmc(const Machine& machine);

}  // namespace agent
