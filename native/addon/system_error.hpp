// Throws what a system call said, as Node's own errors look: code, errno, syscall.
#pragma once

#include <napi.h>

namespace ironrack::addon {

Napi::Value throw_system_error(Napi::Env env, const char* syscall, int error);

}  // namespace ironrack::addon
