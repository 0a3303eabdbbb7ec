// gzip (RFC 1952) with ISA-L: any number of members, zeroes behind the last one as tapes and uploaders leave them.
#include <isa-l/igzip_lib.h>

#include <algorithm>

#include "image/unpacker.hpp"

namespace ironrack::image {
namespace {

class GzipUnpacker final : public Unpacker {
 public:
  explicit GzipUnpacker(FileInput input) : input_(std::move(input)) {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;  // header and trailer are read and checked by the library
  }

  Result<std::size_t> read(std::span<std::byte> out) override {
    state_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    state_.avail_out = static_cast<std::uint32_t>(out.size());
    while (state_.avail_out > 0) {
      const auto seen = input_.peek();
      if (!seen) return std::unexpected(seen.error());
      if (within_) {
        if (auto stepped = step(*seen); !stepped) return std::unexpected(std::move(stepped.error()));
      } else if (seen->empty()) {
        if (members_ == 0) return std::unexpected(truncated_stream("gzip", input_.position()));
        break;
      } else if (seen->front() == kMagic && !padding_) {
        isal_inflate_reset(&state_);
        within_ = true;
      } else if (members_ > 0 && seen->front() == std::byte{0}) {
        padding_ = true;
        input_.consume(static_cast<std::size_t>(std::ranges::find_if(*seen, [](std::byte byte) { return byte != std::byte{0}; }) - seen->begin()));
      } else {
        return std::unexpected(trailing_garbage("gzip", input_.position()));
      }
    }
    return out.size() - state_.avail_out;
  }

 private:
  static constexpr std::byte kMagic{0x1f};

  Result<void> step(ByteSpan seen) {
    state_.next_in = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(seen.data()));
    state_.avail_in = static_cast<std::uint32_t>(seen.size());
    const auto room = state_.avail_out;
    const auto status = isal_inflate(&state_);
    input_.consume(seen.size() - state_.avail_in);
    if (status < 0) return std::unexpected(corrupt_stream("gzip", input_.position(), reason(status)));
    if (state_.block_state == ISAL_BLOCK_FINISH) {
      within_ = false;
      members_++;
    } else if (seen.empty() && state_.avail_out == room) {
      return std::unexpected(truncated_stream("gzip", input_.position()));
    }
    return {};
  }

  static std::string_view reason(int status) {
    switch (status) {
      case ISAL_INCORRECT_CHECKSUM: return "its checksum or length is not that of the data";
      case ISAL_UNSUPPORTED_METHOD:
      case ISAL_INVALID_WRAPPER: return "a member has no gzip header";
      default: return "it does not inflate";
    }
  }

  FileInput input_;
  inflate_state state_{};
  bool within_ = false;
  bool padding_ = false;
  std::uint64_t members_ = 0;
};

}  // namespace

std::unique_ptr<Unpacker> unpack_gzip(FileInput input) { return std::make_unique<GzipUnpacker>(std::move(input)); }

}  // namespace ironrack::image
