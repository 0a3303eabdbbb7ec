#include "image/qcow2.hpp"

#include <algorithm>
#include <bit>

#include "bytes/byte_reader.hpp"

namespace ironrack::image {
namespace {

constexpr std::uint64_t kDirty = 1u << 0;
constexpr std::uint64_t kCorrupt = 1u << 1;
constexpr std::uint64_t kExternalData = 1u << 2;
constexpr std::uint64_t kCompressionType = 1u << 3;
constexpr std::uint64_t kExtendedL2 = 1u << 4;
constexpr std::uint64_t kKnown = kDirty | kCorrupt | kExternalData | kCompressionType | kExtendedL2;

constexpr std::uint32_t kExtensionEnd = 0;
constexpr std::uint32_t kExtensionFeatureNames = 0x6803f857;
constexpr std::uint32_t kExtensionEncryption = 0x0537be77;
constexpr std::uint32_t kExtensionExternalData = 0x44415441;

constexpr std::uint64_t kOffsetMask = 0x00fffffffffffe00;
constexpr std::uint64_t kL1Reserved = 0x7f000000000001ff;
constexpr std::uint64_t kL2Reserved = 0x3f000000000001fe;
constexpr std::uint64_t kL2Zero = 1;
constexpr std::uint64_t kL2Compressed = std::uint64_t{1} << 62;

std::unexpected<Fault> corrupt(std::string code, std::string message) { return fail(FaultKind::malformed, std::move(code), std::move(message)); }
std::unexpected<Fault> refused(std::string code, std::string message) { return fail(FaultKind::unsupported, std::move(code), std::move(message)); }

struct Extensions {
  bool encryption = false;
  bool external_data = false;
  std::vector<std::pair<int, std::string>> incompatible_names;
};

Result<Extensions> decode_extensions(ByteSpan bytes) {
  Extensions out;
  ByteReader reader(bytes);
  while (reader.remaining() >= 8) {
    const auto type = reader.u32();
    const auto length = reader.u32();
    if (type == kExtensionEnd) return out;
    const auto body = reader.bytes(length);
    reader.skip(std::min<std::size_t>(-length & 7u, reader.remaining()));
    if (!reader.complete()) return corrupt("qcow2.extension", "a header extension of the qcow2 image is longer than the header");
    if (type == kExtensionEncryption) out.encryption = true;
    if (type == kExtensionExternalData) out.external_data = true;
    if (type == kExtensionFeatureNames) {
      for (std::size_t at = 0; at + 48 <= body.size(); at += 48) {
        if (body[at] != std::byte{0}) continue;  // 0: incompatible
        std::string name;
        for (std::size_t i = at + 2; i < at + 48 && body[i] != std::byte{0}; i++) {
          const auto c = static_cast<unsigned char>(body[i]);
          name += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '.';
        }
        out.incompatible_names.emplace_back(static_cast<int>(body[at + 1]), std::move(name));
      }
    }
  }
  return out;
}

}  // namespace

Result<Qcow2Header> decode_qcow2_header(ByteSpan start, std::uint64_t file_size) {
  ByteReader reader(start);
  if (reader.u32() != 0x514649fb) return corrupt("qcow2.magic", "the image is not qcow2");
  Qcow2Header header;
  header.version = reader.u32();
  const auto backing_file_offset = reader.u64();
  const auto backing_file_size = reader.u32();
  header.cluster_bits = reader.u32();
  header.size = reader.u64();
  const auto crypt_method = reader.u32();
  header.l1_size = reader.u32();
  header.l1_table_offset = reader.u64();
  reader.skip(8 + 4 + 4 + 8);  // refcount table and snapshots: of no use to a reader of the active disk
  if (!reader.complete()) return corrupt("qcow2.truncated", "the qcow2 image ends within its header");
  if (header.version != 2 && header.version != 3) return refused("qcow2.version", "qcow2 version " + std::to_string(header.version) + " is unknown");

  std::uint64_t incompatible = 0;
  std::uint32_t header_length = 72;
  if (header.version == 3) {
    incompatible = reader.u64();
    reader.skip(8 + 8 + 4);  // compatible, autoclear, refcount order
    header_length = reader.u32();
    if (!reader.complete()) return corrupt("qcow2.truncated", "the qcow2 image ends within its header");
    if (header_length < 104 || header_length > start.size() || header_length % 8 != 0) return corrupt("qcow2.header-length", "the qcow2 image states an impossible header length");
  }
  std::uint8_t compression_type = 0;
  if (header_length > 104) compression_type = static_cast<std::uint8_t>(start[104]);

  if (header.cluster_bits < 9 || header.cluster_bits > 21) return corrupt("qcow2.cluster-size", "the qcow2 image's cluster size is not 512 bytes to 2 MiB");
  // The extensions end where the backing file's name begins, or with the first cluster.
  const auto extensions_end = std::min<std::uint64_t>({start.size(), header.cluster_size(), backing_file_offset != 0 ? backing_file_offset : UINT64_MAX});
  const auto extensions = decode_extensions(start.subspan(std::min<std::size_t>(header_length, extensions_end), extensions_end - std::min<std::uint64_t>(header_length, extensions_end)));
  if (!extensions) return std::unexpected(extensions.error());

  if (backing_file_offset != 0 || backing_file_size != 0) return refused("qcow2.backing-file", "the qcow2 image has a backing file: it is not a whole disk");
  if (crypt_method != 0 || extensions->encryption) return refused("qcow2.encrypted", "the qcow2 image is encrypted");
  if ((incompatible & kExternalData) != 0 || extensions->external_data) return refused("qcow2.data-file", "the qcow2 image keeps its data in another file");
  if ((incompatible & kCorrupt) != 0) return corrupt("qcow2.corrupt", "the qcow2 image is marked as corrupt");
  if (const auto unknown = incompatible & ~kKnown; unknown != 0) {
    std::string names;
    for (int bit = 0; bit < 64; bit++) {
      if ((unknown >> bit & 1) == 0) continue;
      const auto named = std::ranges::find(extensions->incompatible_names, bit, &std::pair<int, std::string>::first);
      names += (names.empty() ? "" : ", ") + (named == extensions->incompatible_names.end() ? "bit " + std::to_string(bit) : named->second);
    }
    return refused("qcow2.feature", "the qcow2 image needs features that are unknown here: " + names);
  }
  // Bit 3 says that the type is other than zlib; a type without the bit, or the bit without a type, contradicts itself.
  if (((incompatible & kCompressionType) != 0) != (compression_type != 0)) return corrupt("qcow2.compression-type", "the qcow2 image contradicts itself about its compression");
  if (compression_type > 1) return refused("qcow2.compression-type", "the qcow2 image's compression type " + std::to_string(compression_type) + " is unknown");
  header.zstd = compression_type == 1;
  header.extended_l2 = (incompatible & kExtendedL2) != 0;
  if (header.extended_l2 && header.cluster_bits < 14) return corrupt("qcow2.cluster-size", "a qcow2 image with subclusters needs clusters of at least 16 KiB");

  if (header.size == 0) return corrupt("image.empty", "the image is empty");
  if (header.size > std::uint64_t{1} << 62) return corrupt("qcow2.size", "the qcow2 image states an impossible size");
  if (header.l1_table_offset % header.cluster_size() != 0) return corrupt("qcow2.l1-table", "the qcow2 image's L1 table is not aligned");
  const std::uint64_t per_l1_entry = header.l2_entries() * header.cluster_size();
  const std::uint64_t l1_needed = (header.size - 1) / per_l1_entry + 1;
  if (header.l1_size < l1_needed) return corrupt("qcow2.l1-table", "the qcow2 image's L1 table is too short for its size");
  if (header.l1_table_offset > file_size || l1_needed * 8 > file_size - header.l1_table_offset) return corrupt("image.truncated", "the qcow2 image ends within its L1 table");
  return header;
}

Result<std::optional<std::uint64_t>> decode_l1_entry(const Qcow2Header& header, std::uint64_t entry, std::uint64_t file_size) {
  if ((entry & kL1Reserved) != 0) return corrupt("qcow2.l1-entry", "an L1 entry of the qcow2 image has reserved bits set");
  const auto offset = entry & kOffsetMask;
  if (offset == 0) return std::nullopt;
  if (offset % header.cluster_size() != 0) return corrupt("qcow2.l1-entry", "an L2 table of the qcow2 image is not aligned");
  if (offset > file_size || header.cluster_size() > file_size - offset) return corrupt("image.truncated", "an L2 table of the qcow2 image lies behind the end of the file");
  return offset;
}

Result<Cluster> decode_l2_entry(const Qcow2Header& header, std::uint64_t entry, std::uint64_t bitmap, std::uint32_t needed, std::uint64_t file_size) {
  Cluster cluster;
  if ((entry & kL2Compressed) != 0) {
    if (header.extended_l2 && bitmap != 0) return corrupt("qcow2.l2-entry", "a compressed cluster of the qcow2 image has a subcluster bitmap");
    const unsigned offset_bits = 62 - (header.cluster_bits - 8);
    cluster.kind = ClusterKind::compressed;
    cluster.file_offset = entry & ((std::uint64_t{1} << offset_bits) - 1);
    const auto sectors = (entry & (kL2Compressed - 1)) >> offset_bits;
    const std::uint64_t length = (sectors + 1) * 512 - (cluster.file_offset & 511);
    if (cluster.file_offset == 0 || cluster.file_offset >= file_size) return corrupt("image.truncated", "a compressed cluster of the qcow2 image lies behind the end of the file");
    cluster.file_length = static_cast<std::uint32_t>(std::min(length, file_size - cluster.file_offset));
    return cluster;
  }
  if ((entry & kL2Reserved) != 0) return corrupt("qcow2.l2-entry", "an L2 entry of the qcow2 image has reserved bits set");
  if ((entry & kL2Zero) != 0 && (header.version < 3 || header.extended_l2)) return corrupt("qcow2.l2-entry", "an L2 entry of the qcow2 image has reserved bits set");
  const auto offset = entry & kOffsetMask;
  if (offset % header.cluster_size() != 0) return corrupt("qcow2.l2-entry", "a cluster of the qcow2 image is not aligned");
  const auto reaches = [&](std::uint32_t length) { return offset <= file_size && std::min(length, needed) <= file_size - offset; };

  if (header.extended_l2) {
    const auto allocated = static_cast<std::uint32_t>(bitmap);
    const auto zero = static_cast<std::uint32_t>(bitmap >> 32);
    if ((allocated & zero) != 0) return corrupt("qcow2.l2-entry", "a subcluster of the qcow2 image is both allocated and zero");
    if (offset == 0 && allocated != 0) return corrupt("qcow2.l2-entry", "a subcluster of the qcow2 image is allocated nowhere");
    if (allocated == 0) return cluster;
    // The file may end with the last subcluster that was written.
    const auto last = 32 - static_cast<std::uint32_t>(std::countl_zero(allocated));
    if (!reaches(last * (header.cluster_size() / 32))) return corrupt("image.truncated", "a cluster of the qcow2 image lies behind the end of the file");
    cluster.file_offset = offset;
    cluster.allocated = allocated;
    cluster.kind = allocated == 0xffffffff ? ClusterKind::data : ClusterKind::subclusters;
    return cluster;
  }
  if ((entry & kL2Zero) != 0 || offset == 0) return cluster;
  if (!reaches(header.cluster_size())) return corrupt("image.truncated", "a cluster of the qcow2 image lies behind the end of the file");
  cluster.kind = ClusterKind::data;
  cluster.file_offset = offset;
  return cluster;
}

}  // namespace ironrack::image
