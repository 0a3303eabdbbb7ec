#pragma once

#include "../json_reader.hpp"
#include "../machine.hpp"

namespace agent {

// {model_name, frequency (MHz, as text), count, architecture, flags, socket_count}
Json collect_cpu(const Machine& machine);

}  // namespace agent
