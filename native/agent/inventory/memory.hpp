#pragma once

#include "../json_reader.hpp"
#include "../machine.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace agent {

// {total: bytes the kernel has, physical_mb: MiB of the modules}
Json collect_memory(const Machine& machine);

// The sum of the memory modules in a table of SMBIOS structures, in MiB; nothing if it lists none.
std::optional<std::uint64_t> module_mebibytes(std::span<const std::uint8_t> smbios);

}  // namespace agent
