#include "memory.hpp"

#include "../bytes.hpp"
#include "../file.hpp"

#include <charconv>

namespace agent {

namespace {

std::uint64_t kernel_memory_bytes(const Machine& machine)
{
    const std::string text = read_file(machine.procfs + "/meminfo").value_or("");
    const auto at = text.find("MemTotal:");
    if (at == std::string::npos) {
        return 0;
    }
    const auto digits = text.find_first_of("0123456789", at);
    std::uint64_t kibibytes = 0;
    if (digits != std::string::npos) {
        std::from_chars(text.data() + digits, text.data() + text.size(), kibibytes);
    }
    return kibibytes * 1024;
}

}  // namespace

// SMBIOS 3.6 §6.1.2: each structure is type, length, handle, its formatted area, then strings up to two NULs.
// §7.18, type 17: size at 0x0c in MiB (bit 15: in KiB; 0x7fff: see the 32 bits at 0x1c; 0 empty; 0xffff unknown).
std::optional<std::uint64_t> module_mebibytes(std::span<const std::uint8_t> smbios)
{
    std::uint64_t sum = 0;
    while (smbios.size() >= 4) {
        const std::size_t length = smbios[1];
        if (length < 4 || length > smbios.size()) {
            break;
        }
        const auto structure = smbios.first(length);
        if (structure[0] == 17 && length >= 0x0e) {
            const auto size = little_endian<std::uint16_t>(structure, 0x0c);
            if (size == 0x7fff && length >= 0x20) {
                sum += little_endian<std::uint32_t>(structure, 0x1c) & 0x7fffffff;
            } else if (size != 0xffff) {
                sum += (size & 0x8000) != 0 ? (size & 0x7fffU) / 1024 : size;
            }
        }
        std::size_t end = length;
        while (end + 1 < smbios.size() && (smbios[end] != 0 || smbios[end + 1] != 0)) {
            ++end;
        }
        if (structure[0] == 127 || end + 2 > smbios.size()) {
            break;
        }
        smbios = smbios.subspan(end + 2);
    }
    return sum == 0 ? std::nullopt : std::optional(sum);
}

Json collect_memory(const Machine& machine)
{
    const std::uint64_t total = kernel_memory_bytes(machine);
    const std::string smbios = read_file(machine.sysfs + "/firmware/dmi/tables/DMI").value_or("");
    const auto modules = module_mebibytes({reinterpret_cast<const std::uint8_t*>(smbios.data()), smbios.size()});
    // Without SMBIOS: what the kernel has, rounded up to the 64 MiB that firmware and kernel keep for themselves.
    const std::uint64_t mebibytes = modules.value_or((total / (1024 * 1024) + 63) / 64 * 64);
    return {{"total", total}, {"physical_mb", mebibytes}};
}

}  // namespace agent
