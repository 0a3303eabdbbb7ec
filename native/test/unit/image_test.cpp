#include <cstring>

#include "image/format.hpp"
#include "image/qcow2.hpp"
#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::image;

namespace {

constexpr std::uint64_t kFileSize = 1 << 20;

/// A version 3 header of a 64 MiB disk, 64 KiB clusters, L1 table in the third cluster.
std::vector<std::byte> header_v3() {
  std::vector<std::byte> bytes(65536);
  store_be<std::uint32_t>(&bytes[0], 0x514649fb);
  store_be<std::uint32_t>(&bytes[4], 3);
  store_be<std::uint32_t>(&bytes[20], 16);
  store_be<std::uint64_t>(&bytes[24], 64 << 20);
  store_be<std::uint32_t>(&bytes[36], 1);
  store_be<std::uint64_t>(&bytes[40], 0x30000);
  store_be<std::uint64_t>(&bytes[48], 0x10000);
  store_be<std::uint32_t>(&bytes[56], 1);
  store_be<std::uint32_t>(&bytes[96], 4);
  store_be<std::uint32_t>(&bytes[100], 112);
  return bytes;
}

std::string refusal(const std::vector<std::byte>& bytes, std::uint64_t file_size = kFileSize) {
  const auto header = decode_qcow2_header(bytes, file_size);
  return header ? "" : header.error().code;
}

}  // namespace

RULE("a plain version 3 header is read, and cut off at any length it is refused") {
  const auto bytes = header_v3();
  const auto header = decode_qcow2_header(bytes, kFileSize);
  CHECK(header && header->cluster_size() == 65536 && header->size == 64 << 20 && header->l1_table_offset == 0x30000 && !header->zstd && !header->extended_l2);
  for (std::size_t length = 0; length < 112; length++) CHECK(!decode_qcow2_header(ByteSpan(bytes).first(length), length));
}

RULE("what makes an image more than one whole readable disk is refused by name") {
  auto bytes = header_v3();
  store_be<std::uint64_t>(&bytes[8], 1000);
  CHECK(refusal(bytes) == "qcow2.backing-file");
  bytes = header_v3();
  store_be<std::uint32_t>(&bytes[32], 1);
  CHECK(refusal(bytes) == "qcow2.encrypted");
  bytes = header_v3();
  bytes[79] = std::byte{4};
  CHECK(refusal(bytes) == "qcow2.data-file");
  bytes = header_v3();
  bytes[79] = std::byte{2};
  CHECK(refusal(bytes) == "qcow2.corrupt");
  bytes = header_v3();
  bytes[79] = std::byte{1};
  CHECK(refusal(bytes).empty());  // dirty: the refcounts may be wrong, which a reader does not use
  bytes = header_v3();
  store_be<std::uint32_t>(&bytes[4], 4);
  CHECK(refusal(bytes) == "qcow2.version");
}

RULE("an external data file named only in an extension is refused too") {
  auto bytes = header_v3();
  store_be<std::uint32_t>(&bytes[112], 0x44415441);
  store_be<std::uint32_t>(&bytes[116], 11);
  std::memcpy(&bytes[120], "/etc/shadow", 11);
  CHECK(refusal(bytes) == "qcow2.data-file");
}

RULE("unknown incompatible features are named, by the image's own table where it has one") {
  auto bytes = header_v3();
  bytes[72] = std::byte{0x80};
  auto header = decode_qcow2_header(bytes, kFileSize);
  CHECK(!header && header.error().code == "qcow2.feature" && header.error().message.ends_with("bit 63"));
  store_be<std::uint32_t>(&bytes[112], 0x6803f857);
  store_be<std::uint32_t>(&bytes[116], 48);
  bytes[120] = std::byte{0};
  bytes[121] = std::byte{63};
  std::memcpy(&bytes[122], "time travel", 11);
  header = decode_qcow2_header(bytes, kFileSize);
  CHECK(!header && header.error().message.ends_with("time travel"));
}

RULE("an extension that is longer than the header is malformed") {
  auto bytes = header_v3();
  store_be<std::uint32_t>(&bytes[112], 0x12345678);
  store_be<std::uint32_t>(&bytes[116], 0xfffffff8);
  CHECK(refusal(bytes) == "qcow2.extension");
}

RULE("sizes and tables that cannot be are refused") {
  auto bytes = header_v3();
  store_be<std::uint32_t>(&bytes[20], 8);
  CHECK(refusal(bytes) == "qcow2.cluster-size");
  store_be<std::uint32_t>(&bytes[20], 22);
  CHECK(refusal(bytes) == "qcow2.cluster-size");
  bytes = header_v3();
  store_be<std::uint64_t>(&bytes[24], 0);
  CHECK(refusal(bytes) == "image.empty");
  store_be<std::uint64_t>(&bytes[24], UINT64_MAX);
  CHECK(refusal(bytes) == "qcow2.size");
  store_be<std::uint64_t>(&bytes[24], std::uint64_t{1} << 40);
  CHECK(refusal(bytes) == "qcow2.l1-table");
  bytes = header_v3();
  store_be<std::uint64_t>(&bytes[40], 0x30200);
  CHECK(refusal(bytes) == "qcow2.l1-table");
  bytes = header_v3();
  store_be<std::uint64_t>(&bytes[40], 0xfffffffffff00000);
  CHECK(refusal(bytes) == "image.truncated");
}

RULE("the compression type must agree with its feature bit") {
  auto bytes = header_v3();
  bytes[104] = std::byte{1};
  CHECK(refusal(bytes) == "qcow2.compression-type");
  bytes[79] = std::byte{8};
  CHECK(refusal(bytes).empty() && decode_qcow2_header(bytes, kFileSize)->zstd);
  bytes[104] = std::byte{2};
  CHECK(refusal(bytes) == "qcow2.compression-type");
}

RULE("table entries that point outside the file, askew, or use reserved bits are refused") {
  const auto header = *decode_qcow2_header(header_v3(), kFileSize);
  CHECK(!*decode_l1_entry(header, 0, kFileSize));
  CHECK(**decode_l1_entry(header, 0x8000000000040000, kFileSize) == 0x40000);
  CHECK(!decode_l1_entry(header, 0x40200, kFileSize));
  CHECK(!decode_l1_entry(header, 0x40001, kFileSize));
  CHECK(!decode_l1_entry(header, kFileSize, kFileSize));
  CHECK(!decode_l1_entry(header, 0x00fffffffff00000, kFileSize));

  const auto entry = [&](std::uint64_t value, std::uint32_t needed = 65536) { return decode_l2_entry(header, value, 0, needed, kFileSize); };
  CHECK(entry(0)->kind == ClusterKind::zero);
  CHECK(entry(1)->kind == ClusterKind::zero);
  CHECK(entry(0x50001)->kind == ClusterKind::zero);
  CHECK(entry(0x8000000000050000)->kind == ClusterKind::data);
  CHECK(!entry(0x50200));
  CHECK(!entry(0x50002));
  CHECK(!entry(0x2000000000050000));
  CHECK(!entry(kFileSize));
  CHECK(!entry(kFileSize - 65536 + 65536));
  const auto compressed = entry(std::uint64_t{1} << 62 | std::uint64_t{3} << 54 | 0x50123);
  CHECK(compressed && compressed->kind == ClusterKind::compressed && compressed->file_offset == 0x50123 && compressed->file_length == 4 * 512 - 0x123);
  const auto at_end = entry(std::uint64_t{1} << 62 | std::uint64_t{127} << 54 | (kFileSize - 10));
  CHECK(at_end && at_end->file_length == 10);
  CHECK(!entry(std::uint64_t{1} << 62 | kFileSize));
}

RULE("a last cluster needs only the disk's part of it in the file") {
  const auto header = *decode_qcow2_header(header_v3(), kFileSize);
  CHECK(!decode_l2_entry(header, 0xf0000, 0, 65536, kFileSize - 4096));
  CHECK(decode_l2_entry(header, 0xf0000, 0, 61440, kFileSize - 4096));
}

RULE("subclusters are allocated, zero or neither, never both") {
  auto bytes = header_v3();
  bytes[79] = std::byte{0x10};
  const auto header = *decode_qcow2_header(bytes, kFileSize);
  CHECK(header.extended_l2 && header.l2_entries() == 4096);
  const auto entry = [&](std::uint64_t value, std::uint64_t bitmap) { return decode_l2_entry(header, value, bitmap, 65536, kFileSize); };
  CHECK(entry(0x50000, 0xffffffff)->kind == ClusterKind::data);
  CHECK(entry(0x50000, 0x00000001)->kind == ClusterKind::subclusters && entry(0x50000, 1)->allocated == 1);
  CHECK(entry(0x50000, 0xffffffff00000000)->kind == ClusterKind::zero);
  CHECK(!entry(0x50000, 0x0000000100000001));
  CHECK(!entry(0, 1));
  CHECK(!entry(0x50001, 0));
  CHECK(!entry(std::uint64_t{1} << 62 | 0x50000, 1));
}

RULE("formats are told by their signatures") {
  const auto of = [](std::string_view text) { return probe(std::as_bytes(std::span(text))); };
  CHECK(of(std::string_view("QFI\xfb\0\0\0\3", 8)) == Format::qcow2);
  CHECK(of(std::string_view("QFI\xfb\0\0\0\1", 8)) == Format::qcow1);
  CHECK(of("KDMV") == Format::vmdk);
  CHECK(of("# Disk DescriptorFile") == Format::vmdk);
  CHECK(of("\x1f\x8b\x08") == Format::gzip);
  CHECK(of("") == Format::raw);
  CHECK(of("QFI") == Format::raw);
}
