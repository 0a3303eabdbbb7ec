#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "bytes/unique_fd.hpp"
#include "fuzz/input.hpp"

namespace ironrack::fuzz {

/// A file without a name that holds `bytes`.
inline UniqueFd memory_file(const Bytes& bytes) {
  UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  if (::pwrite(fd.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) std::abort();
  return fd;
}

}  // namespace ironrack::fuzz
