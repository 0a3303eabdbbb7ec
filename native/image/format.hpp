// What a file is, by its content; a name or a caller's word never decides which parser reads it.
#pragma once

#include <string_view>

#include "bytes/endian.hpp"

namespace ironrack::image {

enum class Format { raw, qcow2, qcow1, qed, vmdk, vhd, vhdx, vdi, parallels, gzip, zstd, xz, bzip2 };

/// How many bytes from the start probe() wants to see.
inline constexpr std::size_t kProbeSize = 4096;

/// The format whose signature the file begins with; raw when there is none.
Format probe(ByteSpan start);

std::string_view format_name(Format format);

}  // namespace ironrack::image
