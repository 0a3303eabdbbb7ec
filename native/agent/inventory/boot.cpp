#include "boot.hpp"

#include "../file.hpp"

namespace agent {

bool booted_with_uefi(const Machine& machine) { return file_exists(machine.sysfs + "/firmware/efi"); }

Json collect_boot(const Machine& machine, const KernelCommandLine& command_line)
{
    const auto mac = parse_mac_address(command_line.value_of("BOOTIF").value_or(""));
    return {
        {"current_boot_mode", booted_with_uefi(machine) ? "uefi" : "bios"},
        {"pxe_interface", mac ? Json(*mac) : Json(nullptr)},
    };
}

}  // namespace agent
