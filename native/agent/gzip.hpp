// gzip (RFC 1952) in memory.
#pragma once

#include "bytes.hpp"
#include "fault.hpp"

namespace agent {

bool is_gzip(std::span<const std::uint8_t> bytes);

// All members of a gzip file, at most `most` bytes unpacked; more is a fault, so that a small request cannot fill the memory.
Result<Bytes> gunzip(std::span<const std::uint8_t> packed, std::size_t most);
Result<Bytes> gzip(std::span<const std::uint8_t> bytes);

}  // namespace agent
