// All that the agent finds out about its machine, in the form of Ironic's inventory.
#pragma once

#include "../json_reader.hpp"
#include "../kernel_command_line.hpp"
#include "../machine.hpp"

#include <stop_token>

namespace agent {

Json collect_inventory(const Machine& machine, const KernelCommandLine& command_line);

// What the agent posts to the inspection callback: the inventory and what it concludes from it. With ipa-collect-lldp it
// listens to the switches first, at most ipa-lldp-timeout seconds (30).
Json collect_inspection(const Machine& machine, const KernelCommandLine& command_line, const std::stop_token& stop);

}  // namespace agent
