// Little-endian loads, as VMware, VirtualBox and Hyper-V store their numbers. Bounds are the caller's, whose buffers have a fixed size.
#pragma once

#include "bytes/endian.hpp"

namespace ironrack::image {

template <std::unsigned_integral T>
T load_le(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::big && sizeof(T) > 1) value = std::byteswap(value);
  return value;
}

}  // namespace ironrack::image
