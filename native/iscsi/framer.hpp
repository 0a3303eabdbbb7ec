// Cuts the byte stream from a target into PDUs, and checks digests once they are in force.
#pragma once

#include <optional>
#include <vector>

#include "iscsi/pdu.hpp"

namespace ironrack::iscsi {

struct Frame {
  ByteSpan header;  // 48 bytes
  ByteSpan data;    // without padding and digest
};

class Framer {
 public:
  /// `most_data` is our MaxRecvDataSegmentLength: a longer segment is a protocol fault.
  explicit Framer(std::uint32_t most_data) : most_data_(most_data) {}

  void use_digests(bool header, bool data) {
    header_digest_ = header;
    data_digest_ = data;
  }

  /// Room for more bytes from the socket; never empty.
  std::span<std::byte> room();
  void received(std::size_t count) { end_ += count; }

  /// The next whole PDU, or nothing yet. The frame's spans are good until the next call of room().
  Result<std::optional<Frame>> next();

 private:
  std::uint32_t most_data_;
  bool header_digest_ = false;
  bool data_digest_ = false;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t wanted_ = kHeaderSize;
};

}  // namespace ironrack::iscsi
