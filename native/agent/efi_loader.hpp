// Which program of an EFI system partition the firmware shall start.
#pragma once

#include "fat_volume.hpp"

#include <string>
#include <vector>

namespace agent {

struct EfiLoader {
    std::string path;   // "\\EFI\\debian\\shimx64.efi"
    std::string label;  // "debian"
};

// In this order: what a BOOT*.CSV of shim names (one directory per system under \EFI), a shim or GRUB in such a
// directory, the fallback \EFI\BOOT\BOOT{X64,AA64}.EFI. `not_found` if there is none of them.
Result<EfiLoader> find_efi_loader(const FatVolume& volume);

}  // namespace agent
