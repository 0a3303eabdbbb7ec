// All that the agent finds out about its machine, in the form of Ironic's inventory.
#pragma once

#include "../json_reader.hpp"
#include "../kernel_command_line.hpp"
#include "../machine.hpp"

namespace agent {

Json collect_inventory(const Machine& machine, const KernelCommandLine& command_line);

// What the agent posts to the inspection callback: the inventory and what it concludes from it.
Json collect_inspection(const Machine& machine, const KernelCommandLine& command_line);

}  // namespace agent
