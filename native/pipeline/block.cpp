#include "pipeline/block.hpp"

namespace ironrack::pipeline {

Block::~Block() {
  for (const auto& [address, length] : mappings_) ::munmap(address, length);
  if (memory != nullptr) pool->release(memory);
}

bool Block::map() {
  if (mapped) return true;
  for (auto& part : parts) {
    const auto skew = part.file_offset % kAlignment;
    const auto length = static_cast<std::size_t>(part.length + skew);
    void* address = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file, static_cast<off_t>(part.file_offset - skew));
    if (address == MAP_FAILED) return false;  // it goes out by sendfile then
    mappings_.push_back({address, length});
    part.mapped = static_cast<const std::byte*>(address) + skew;
  }
  mapped = true;
  return true;
}

}  // namespace ironrack::pipeline
