#include "pipeline/read_back.hpp"

#include "bytes/crc32c.hpp"

namespace ironrack::pipeline {

Result<void> ReadBack::take(std::size_t number, ByteSpan bytes, std::uint32_t block_size) {
  const auto& [offset, length, checksum] = record(number);
  if (crc32c(0, bytes.first(length)) != checksum) {
    return std::unexpected(Fault{FaultKind::storage, "verify.mismatch", "the disk returns other bytes than were written", Retry::never, {}}
                               .with("offset", offset)
                               .with("length", std::uint64_t{length})
                               .with("lba", offset / block_size));
  }
  left_--;
  return {};
}

}  // namespace ironrack::pipeline
