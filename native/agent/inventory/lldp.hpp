// Which switch port each card is plugged into, as the switches announce it (LLDP, IEEE 802.1AB-2016).
#pragma once

#include "../json_reader.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace agent {

// Type and value in hexadecimal of each TLV, the closing one included, as Ironic's hooks read them.
using LldpTlvs = std::vector<std::pair<int, std::string>>;

// The TLVs of an Ethernet frame that carries an LLDP data unit; nothing if it carries none or is cut short.
std::optional<LldpTlvs> parse_lldp_frame(std::span<const std::uint8_t> frame);

// Listens on the named interfaces until each has heard one announcement or the time is up. Switches announce
// themselves every 30 s (§9.2.5.7).
std::map<std::string, LldpTlvs> collect_lldp(const std::vector<std::string>& interfaces, std::chrono::milliseconds time, const std::stop_token& stop);

}  // namespace agent
