#include "iscsi/framer.hpp"

#include <algorithm>
#include <cstring>

#include "bytes/crc32c.hpp"

namespace ironrack::iscsi {
namespace {

constexpr std::size_t kSmallBuffer = 16384;

constexpr std::size_t padded(std::size_t length) { return (length + 3) & ~std::size_t{3}; }

/// RFC 7143 §13.1: the digest is on the wire with its least significant byte first.
std::uint32_t load_digest(const std::byte* from) {
  std::uint32_t value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::big) value = std::byteswap(value);
  return value;
}

Fault digest_fault(const char* which) {
  return Fault{FaultKind::protocol, "iscsi.digest", std::string("the ") + which + " digest of a PDU from the target is wrong: bytes were changed on the way", Retry::later, {}};
}

}  // namespace

std::span<std::byte> Framer::room() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const std::size_t need = std::max(kSmallBuffer, wanted_);
  if (buffer_.size() < need) buffer_.resize(need);
  if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
  return std::span(buffer_).subspan(end_);
}

Result<std::optional<Frame>> Framer::next() {
  const ByteSpan bytes = ByteSpan(buffer_).subspan(begin_, end_ - begin_);
  wanted_ = kHeaderSize;
  if (bytes.size() < kHeaderSize) return std::nullopt;
  const auto lengths = decode_lengths(bytes);
  if (lengths.data_segment > most_data_) {
    return std::unexpected(Fault{FaultKind::protocol, "iscsi.segment-too-long", "the target sends a longer data segment than we said we take", Retry::later, {}}.with("length", std::uint64_t{lengths.data_segment}));
  }
  const std::size_t header_part = kHeaderSize + lengths.additional_header + (header_digest_ ? 4 : 0);
  const std::size_t data_part = lengths.data_segment == 0 ? 0 : padded(lengths.data_segment) + (data_digest_ ? 4 : 0);
  wanted_ = header_part + data_part;
  if (bytes.size() < header_part) return std::nullopt;
  if (header_digest_) {
    const std::size_t covered = header_part - 4;
    if (crc32c(0, bytes.first(covered)) != load_digest(&bytes[covered])) return std::unexpected(digest_fault("header"));
  }
  if (bytes.size() < wanted_) return std::nullopt;
  const auto data = bytes.subspan(header_part, lengths.data_segment);
  if (data_digest_ && !data.empty()) {
    const auto covered = bytes.subspan(header_part, padded(lengths.data_segment));
    if (crc32c(0, covered) != load_digest(covered.data() + covered.size())) return std::unexpected(digest_fault("data"));
  }
  begin_ += wanted_;
  wanted_ = kHeaderSize;
  return Frame{bytes.first(kHeaderSize), data};
}

}  // namespace ironrack::iscsi
