// Has the kernel read what will soon be wanted of an image.
#pragma once

#include <cstdint>

namespace ironrack::image {

/// Begins to bring these bytes of the file into the page cache, and does not wait for them. Costs next to nothing where they are in it, which
/// is taken from the last byte: POSIX_FADV_WILLNEED by itself looks at every page.
void read_ahead(int file, std::uint64_t offset, std::uint64_t length);

}  // namespace ironrack::image
