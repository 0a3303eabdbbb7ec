#pragma once

#include "../json_reader.hpp"
#include "../machine.hpp"

namespace agent {

// {product_name, serial_number, manufacturer, firmware {vendor, version, build_date}} from SMBIOS.
Json collect_system_vendor(const Machine& machine);

}  // namespace agent
