// Which disk takes the image: Ironic's root device hints.
#pragma once

#include "fault.hpp"
#include "inventory/disks.hpp"
#include "json_reader.hpp"

#include <string>
#include <vector>

namespace agent {

// The first disk that meets every hint. Without hints the smallest fixed disk of at least 4 GiB, ties by name;
// never USB. Read-only disks are never chosen. Faults: `invalid` (a hint that cannot be read), `not_found`.
Result<Disk> choose_root_device(const std::vector<Disk>& disks, const Json& hints);

// Whether a text meets a hint: an optional operator (s==, s!=, s<, s<=, s>, s>=, <in>, <all-in>, <or>), else equality.
// Case does not matter; hints may be URL-quoted.
Result<bool> text_meets_hint(const std::string& text, const std::string& hint);

// Whether a number meets a hint: = (at least), ==, !=, <, <=, >, >=, <range-in> ( a b ], <or>, else equality.
Result<bool> number_meets_hint(double number, const std::string& hint);

}  // namespace agent
