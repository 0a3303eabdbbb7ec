// A moment as the logs and the command API show it.
#pragma once

#include <string>

namespace agent {

// UTC, ISO 8601, in milliseconds: "2026-11-21T21:04:05.123Z".
std::string now_as_text();

}  // namespace agent
