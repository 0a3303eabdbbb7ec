// Turns extents into bytes; one per worker, its contexts are used again and again.
#pragma once

#include <memory>
#include <vector>

#include "image/source.hpp"

namespace ironrack::image {

class Decoder {
 public:
  Decoder();
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Fills `out` with the bytes of the extent, of which it takes the first out.size(). `unit` is the cluster size that
  /// a compressed extent decodes to; bytes missing behind the end of the disk are not asked for.
  Result<void> decode(const Extent& extent, int file, std::uint32_t unit, std::span<std::byte> out);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
};

}  // namespace ironrack::image
