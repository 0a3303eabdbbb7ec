// What all jobs hand to JavaScript.
#pragma once

#include <napi.h>

#include "bytes/fault.hpp"

namespace ironrack::addon {

/// NativeFault of src/core/native-addon.ts.
Napi::Object to_value(Napi::Env env, const Fault& fault);

}  // namespace ironrack::addon
