#pragma once

#include "../json_reader.hpp"
#include "../kernel_command_line.hpp"
#include "../machine.hpp"

namespace agent {

bool booted_with_uefi(const Machine& machine);

// {current_boot_mode: "uefi" | "bios", pxe_interface: the MAC address that BOOTIF names, or null}
Json collect_boot(const Machine& machine, const KernelCommandLine& command_line);

}  // namespace agent
