// Big-endian numbers in iSCSI headers and SCSI parameters.
#pragma once

#include <cstdint>

namespace target {

inline std::uint16_t get16(const unsigned char* from) { return static_cast<std::uint16_t>(from[0] << 8 | from[1]); }
inline std::uint32_t get24(const unsigned char* from) { return static_cast<std::uint32_t>(from[0]) << 16 | static_cast<std::uint32_t>(from[1]) << 8 | from[2]; }
inline std::uint32_t get32(const unsigned char* from) { return static_cast<std::uint32_t>(get16(from)) << 16 | get16(from + 2); }
inline std::uint64_t get64(const unsigned char* from) { return static_cast<std::uint64_t>(get32(from)) << 32 | get32(from + 4); }
inline void put32(unsigned char* to, std::uint32_t value) {
  for (int i = 0; i < 4; i++) to[i] = static_cast<unsigned char>(value >> (24 - 8 * i));
}
inline void put24(unsigned char* to, std::uint32_t value) {
  for (int i = 0; i < 3; i++) to[i] = static_cast<unsigned char>(value >> (16 - 8 * i));
}
inline void put64(unsigned char* to, std::uint64_t value) {
  put32(to, static_cast<std::uint32_t>(value >> 32));
  put32(to + 4, static_cast<std::uint32_t>(value));
}

}  // namespace target
