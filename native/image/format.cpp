#include "image/format.hpp"

#include <cstring>

namespace ironrack::image {
namespace {

struct Signature {
  Format format;
  std::size_t offset;
  std::string_view bytes;
};

using namespace std::string_view_literals;

constexpr Signature kSignatures[] = {
    {Format::qcow1, 0, "QFI\xfb\0\0\0\x01"sv},
    {Format::qcow2, 0, "QFI\xfb"sv},
    {Format::qed, 0, "QED\0"sv},
    {Format::vmdk, 0, "KDMV"sv},
    {Format::vmdk, 0, "COWD"sv},
    {Format::vmdk, 0, "# Disk DescriptorFile"sv},
    {Format::vhd, 0, "conectix"sv},
    {Format::vhdx, 0, "vhdxfile"sv},
    {Format::vdi, 0x40, "\x7f\x10\xda\xbe"sv},
    {Format::parallels, 0, "WithoutFreeSpace"sv},
    {Format::parallels, 0, "WithouFreSpacExt"sv},
    {Format::gzip, 0, "\x1f\x8b\x08"sv},
    {Format::zstd, 0, "\x28\xb5\x2f\xfd"sv},
    {Format::xz, 0, "\xfd" "7zXZ\0"sv},
    {Format::bzip2, 0, "BZh"sv},
};

}  // namespace

Format probe(ByteSpan start) {
  // A zstandard file may begin with a frame for skipping, whose magic number has sixteen values (RFC 8878 §3.1.2).
  if (start.size() >= 4 && (start[0] & std::byte{0xf0}) == std::byte{0x50} && std::memcmp(&start[1], "\x2a\x4d\x18", 3) == 0) return Format::zstd;
  for (const auto& [format, offset, bytes] : kSignatures) {
    if (start.size() >= offset + bytes.size() && std::memcmp(&start[offset], bytes.data(), bytes.size()) == 0) return format;
  }
  return Format::raw;
}

std::string_view format_name(Format format) {
  switch (format) {
    case Format::raw: return "raw";
    case Format::qcow2: return "qcow2";
    case Format::qcow1: return "qcow (version 1)";
    case Format::qed: return "qed";
    case Format::vmdk: return "vmdk";
    case Format::vhd: return "vhd";
    case Format::vhdx: return "vhdx";
    case Format::vdi: return "vdi";
    case Format::parallels: return "parallels";
    case Format::gzip: return "gzip";
    case Format::zstd: return "zstd";
    case Format::xz: return "xz";
    case Format::bzip2: return "bzip2";
  }
  return "raw";
}

}  // namespace ironrack::image
