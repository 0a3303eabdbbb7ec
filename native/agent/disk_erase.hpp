// The thorough erase of a disk.
#pragma once

#include "fault.hpp"
#include "log.hpp"

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

namespace agent {

// Erases the whole disk and answers how: "nvme format", "ata secure erase" where the drive does it by itself, else
// "zeroed", with progress in bytes. Cancelled when the token says so, where zeros are written.
Result<std::string> erase_disk(const std::string& path, Log& log, const std::stop_token& stop, const std::function<void(std::uint64_t)>& progress);

// Only by the drive itself; `unsupported` where it cannot.
Result<std::string> erase_disk_securely(const std::string& path, Log& log);

}  // namespace agent
