// The kernel's command line, from which the agent learns where the appliance is.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace agent {

class KernelCommandLine {
public:
    // Splits as the kernel does: at blanks, with double quotes around a value or a whole parameter
    // (Documentation/admin-guide/kernel-parameters.rst). Anything parses; nothing is refused.
    static KernelCommandLine parse(std::string_view text);

    // The last value given to a parameter; names are compared with '-' and '_' as equal, as the kernel does.
    std::optional<std::string> value_of(std::string_view name) const;
    int number(std::string_view name, int otherwise, int least, int most) const;  // brought into the range
    bool flag(std::string_view name) const;  // "1", "true", "yes", "on", or the bare name

private:
    struct Parameter {
        std::string name;
        std::string value;
        bool has_value;
    };
    std::vector<Parameter> parameters_;
};

// A MAC address in lower case with colons, from "01-52-54-00-12-34-56" (pxelinux's BOOTIF: hardware type first),
// "52:54:00:12:34:56" or "52-54-…"; nothing if it is none of these.
std::optional<std::string> parse_mac_address(std::string_view text);

}  // namespace agent
