// CHAP for iSCSI: RFC 1994 with the algorithms IANA registers for iSCSI (RFC 7143 §12.1.3, §9.2).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"

namespace ironrack::iscsi {

enum class ChapAlgorithm : std::uint8_t { md5 = 5, sha1 = 6, sha256 = 7, sha3_256 = 8 };

/// All algorithms, the strongest first.
std::span<const ChapAlgorithm> chap_algorithms();

/// Bytes of a response of that algorithm.
std::size_t chap_response_size(ChapAlgorithm algorithm);

/// H(identifier | secret | challenge), RFC 1994 §4.1.
Result<std::vector<std::byte>> chap_response(ChapAlgorithm algorithm, std::uint8_t identifier, std::string_view secret, ByteSpan challenge);

/// Compares in constant time.
bool same_secret(ByteSpan a, ByteSpan b);

}  // namespace ironrack::iscsi
