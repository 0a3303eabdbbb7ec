// Base64 (RFC 4648 §4), as config drives and logs travel.
#pragma once

#include "bytes.hpp"
#include "fault.hpp"

#include <string>
#include <string_view>

namespace agent {

std::string encode_base64(std::span<const std::uint8_t> bytes);

// Takes line breaks and blanks between the characters, as `base64` prints them; refuses everything else.
Result<Bytes> decode_base64(std::string_view text);

}  // namespace agent
