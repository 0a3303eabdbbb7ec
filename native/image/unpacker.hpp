// Bytes out of a compressed stream, in order; and what such streams read from.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "image/image_file.hpp"

namespace ironrack::image {

/// Decodes one run of a compressed file from its beginning. Not for several threads.
class Unpacker {
 public:
  virtual ~Unpacker() = default;

  /// Fills `out`, and returns how much of it: less only at the end, which is reached when the compressed run is used up,
  /// whole and with the right checksums. Faults: image.truncated, image.corrupt, image.trailing-garbage, image.read.
  virtual Result<std::size_t> read(std::span<std::byte> out) = 0;
};

/// A run of a file, read in large pieces.
class FileInput {
 public:
  FileInput(const ImageFile& file, std::uint64_t offset, std::uint64_t length) : file_(file), offset_(offset), left_(length) {}

  /// What was read and not consumed yet; empty only at the end.
  Result<ByteSpan> peek();
  void consume(std::size_t count) { begin_ += count; }
  /// Where the next byte lies in the file.
  [[nodiscard]] std::uint64_t position() const { return offset_ - (end_ - begin_); }

 private:
  ImageFile file_;
  std::uint64_t offset_;  // behind what was read
  std::uint64_t left_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

Fault truncated_stream(std::string_view format, std::uint64_t file_offset);
Fault corrupt_stream(std::string_view format, std::uint64_t file_offset, std::string_view what);
Fault trailing_garbage(std::string_view format, std::uint64_t file_offset);

std::unique_ptr<Unpacker> unpack_gzip(FileInput input);
std::unique_ptr<Unpacker> unpack_bzip2(FileInput input);
std::unique_ptr<Unpacker> unpack_zstd(FileInput input);

}  // namespace ironrack::image
