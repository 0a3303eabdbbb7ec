// bzip2, any number of streams one behind the other, as pbzip2 writes them.
#include <bzlib.h>

#include "image/unpacker.hpp"

namespace ironrack::image {
namespace {

class Bzip2Unpacker final : public Unpacker {
 public:
  explicit Bzip2Unpacker(FileInput input) : input_(std::move(input)) {}
  ~Bzip2Unpacker() override { end_stream(); }

  Result<std::size_t> read(std::span<std::byte> out) override {
    std::size_t filled = 0;
    while (filled < out.size()) {
      const auto seen = input_.peek();
      if (!seen) return std::unexpected(seen.error());
      if (!within_) {
        if (seen->empty() && streams_ > 0) break;
        if (seen->empty()) return std::unexpected(truncated_stream("bzip2", input_.position()));
        if (seen->front() != std::byte{'B'}) return std::unexpected(trailing_garbage("bzip2", input_.position()));
        if (BZ2_bzDecompressInit(&state_, 0, 0) != BZ_OK) return fail(FaultKind::internal, "image.memory", "there is no memory for a bzip2 decoder");
        within_ = true;
      }
      state_.next_in = reinterpret_cast<char*>(const_cast<std::byte*>(seen->data()));
      state_.avail_in = static_cast<unsigned>(seen->size());
      const auto room = out.subspan(filled);
      state_.next_out = reinterpret_cast<char*>(room.data());
      state_.avail_out = static_cast<unsigned>(room.size());
      const auto status = BZ2_bzDecompress(&state_);
      const auto produced = room.size() - state_.avail_out;
      filled += produced;
      input_.consume(seen->size() - state_.avail_in);
      if (status == BZ_STREAM_END) {
        end_stream();
        streams_++;
      } else if (status == BZ_DATA_ERROR_MAGIC && streams_ > 0) {
        return std::unexpected(trailing_garbage("bzip2", input_.position()));
      } else if (status != BZ_OK) {
        return std::unexpected(corrupt_stream("bzip2", input_.position(), status == BZ_DATA_ERROR ? "its data or checksums are wrong" : "it is no bzip2 stream"));
      } else if (seen->empty() && produced == 0) {
        return std::unexpected(truncated_stream("bzip2", input_.position()));
      }
    }
    return filled;
  }

 private:
  void end_stream() {
    if (within_) BZ2_bzDecompressEnd(&state_);
    within_ = false;
    state_ = {};
  }

  FileInput input_;
  bz_stream state_{};
  bool within_ = false;
  std::uint64_t streams_ = 0;
};

}  // namespace

std::unique_ptr<Unpacker> unpack_bzip2(FileInput input) { return std::make_unique<Bzip2Unpacker>(std::move(input)); }

}  // namespace ironrack::image
