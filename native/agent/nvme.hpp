// Format NVM with secure erase, through the kernel's NVMe admin command ioctl.
// @source NVM Express Base Specification 1.4 §5.15, §5.23
#pragma once

#include "block_device.hpp"

namespace agent {

// Erases all user data of the namespace; `unsupported` for what is no NVMe disk, or one that cannot do it for this
// namespace alone.
Result<void> format_nvme(const BlockDevice& disk);

}  // namespace agent
