// ATA's own erase: SECURITY ERASE UNIT, through the SCSI pass-through that every SATA driver of Linux offers.
// @source ATA8-ACS §7.45-7.48 (commands), §7.16.7 (IDENTIFY DEVICE); SAT-3 §12.2.2 (ATA PASS-THROUGH)
#pragma once

#include "block_device.hpp"

#include <cstdint>
#include <span>

namespace agent {

struct AtaSecurity {
    bool is_ata = false;
    bool supported = false;
    bool enabled = false;
    bool locked = false;
    bool frozen = false;
    bool enhanced_erase = false;
    std::uint32_t erase_minutes = 0;  // as the drive estimates; 0: it does not say

    static AtaSecurity parse(std::span<const std::uint8_t, 512> identify);
};

// Erases the whole drive; enhanced erase, which covers reallocated sectors, where there is one. `unsupported` for what is no ATA
// drive, has no security feature set, or was frozen by the firmware. If the erase fails, the password is taken off again.
Result<void> erase_ata(const BlockDevice& disk);

}  // namespace agent
