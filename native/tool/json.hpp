// Results as JSON, for scripts.
#pragma once

#include <string>

#include "pipeline/request.hpp"

namespace ironrack::tool {

std::string to_json(const Result<pipeline::StreamResult>& result);

}  // namespace ironrack::tool
