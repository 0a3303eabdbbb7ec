// Where this machine's facts and devices are found. Tests point the paths to a tree of their own.
#pragma once

#include <string>
#include <vector>

namespace agent {

struct Machine {
    std::string sysfs = "/sys";
    std::string procfs = "/proc";
    std::string configfs = "/sys/kernel/config";
    std::string efivars = "/sys/firmware/efi/efivars";
    std::string ipmi_device = "/dev/ipmi0";
    std::string sfdisk = "sfdisk";
    std::string kept_state = "/run/ironrack-agent/state";
    std::vector<std::string> disks;  // if not empty, these files or devices are the machine's disks
    std::string power_file;          // if not empty, power actions are written here and not carried out
};

}  // namespace agent
