// JSON from outside: parsed with bounds, and read field by field with faults that name the field.
#pragma once

#include "fault.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace agent {

using Json = nlohmann::json;

// The document, if it is JSON in UTF-8 and no deeper than 64 levels (copies and dumps recurse).
Result<Json> parse_json(std::string_view text);

// Text with what is not UTF-8 replaced, as answers need it: disks and firmware put any byte into their names.
std::string dump_json(const Json& document);

// Fields of an object. A missing field and null are the same; a wrong type is a fault that names the field.
Result<std::string> text_field(const Json& object, std::string_view name);
Result<std::optional<std::string>> optional_text_field(const Json& object, std::string_view name);
Result<bool> flag_field(const Json& object, std::string_view name, bool otherwise);
Result<std::int64_t> number_field(const Json& object, std::string_view name, std::int64_t otherwise, std::int64_t least, std::int64_t most);
Result<Json> object_field(const Json& object, std::string_view name);  // {} if missing

}  // namespace agent
