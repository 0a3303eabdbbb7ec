#include "nvme.hpp"

#include "bytes.hpp"

#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>

namespace agent {

namespace {

constexpr std::uint8_t identify = 0x06;
constexpr std::uint8_t format_nvm = 0x80;
constexpr std::uint32_t identify_namespace = 0;   // CNS, §5.15.1
constexpr std::uint32_t identify_controller = 1;
constexpr std::size_t identify_size = 4096;
constexpr std::uint32_t user_data_erase = 1;      // SES, figure 330
constexpr std::uint32_t erase_timeout_ms = 4 * 60 * 60 * 1000;

Result<Bytes> identify_data(const BlockDevice& disk, std::uint32_t nsid, std::uint32_t cns)
{
    Bytes data(identify_size);
    nvme_admin_cmd command{};
    command.opcode = identify;
    command.nsid = nsid;
    command.addr = reinterpret_cast<std::uint64_t>(data.data());
    command.data_len = static_cast<std::uint32_t>(data.size());
    command.cdw10 = cns;
    const int status = ::ioctl(disk.descriptor(), NVME_IOCTL_ADMIN_CMD, &command);
    if (status != 0) {
        return fail(FaultKind::storage, "NVMe Identify: status " + std::to_string(status));
    }
    return data;
}

}  // namespace

Result<void> format_nvme(const BlockDevice& disk)
{
    const int nsid = disk.is_block() ? ::ioctl(disk.descriptor(), NVME_IOCTL_ID) : -1;
    if (nsid <= 0) {
        return fail(FaultKind::unsupported, "no NVMe namespace");
    }
    const auto controller = identify_data(disk, 0, identify_controller);
    if (!controller) {
        return std::unexpected(controller.error());
    }
    const auto space = identify_data(disk, static_cast<std::uint32_t>(nsid), identify_namespace);
    if (!space) {
        return std::unexpected(space.error());
    }
    const bool has_format = (little_endian<std::uint16_t>(*controller, 256) & 2) != 0;  // OACS bit 1
    const std::uint8_t format_attributes = (*controller)[524];                          // FNA
    const auto namespaces = little_endian<std::uint32_t>(*controller, 516);             // NN
    if (!has_format) {
        return fail(FaultKind::unsupported, "the controller has no Format NVM command");
    }
    // FNA bits 0 and 1: a format, or its erase, takes all namespaces of the subsystem with it.
    if ((format_attributes & 3) != 0 && namespaces > 1) {
        return fail(FaultKind::unsupported, "Format NVM would erase the other namespaces too");
    }
    // The format stays what it is: FLBAS (byte 26) and the protection of DPS (byte 29).
    const std::uint8_t flbas = (*space)[26];
    const std::uint8_t dps = (*space)[29];
    nvme_admin_cmd command{};
    command.opcode = format_nvm;
    command.nsid = static_cast<std::uint32_t>(nsid);
    command.cdw10 = (flbas & 0x0fU) | (flbas & 0x10U) | (dps & 7U) << 5 | (dps >> 3 & 1U) << 8 | user_data_erase << 9 | (flbas >> 5 & 3U) << 12;
    command.timeout_ms = erase_timeout_ms;
    const int status = ::ioctl(disk.descriptor(), NVME_IOCTL_ADMIN_CMD, &command);
    if (status != 0) {
        return status < 0 ? fail_errno("Format NVM") : fail(FaultKind::storage, "Format NVM: status " + std::to_string(status));
    }
    return {};
}

}  // namespace agent
