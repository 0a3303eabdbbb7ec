#include "system_vendor.hpp"

#include "../file.hpp"

namespace agent {

Json collect_system_vendor(const Machine& machine)
{
    const auto field = [&](const char* name) { return read_line_of(machine.sysfs + "/class/dmi/id/" + name).value_or(""); };
    return {
        {"product_name", field("product_name")},
        {"serial_number", field("product_serial")},
        {"manufacturer", field("sys_vendor")},
        {"firmware", {{"vendor", field("bios_vendor")}, {"version", field("bios_version")}, {"build_date", field("bios_date")}}},
    };
}

}  // namespace agent
