// The header and table entries of qcow2 versions 2 and 3 (QEMU docs/interop/qcow2.txt), decoded without reading files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"

namespace ironrack::image {

struct Qcow2Header {
  std::uint32_t version = 0;
  std::uint32_t cluster_bits = 0;
  std::uint64_t size = 0;
  std::uint32_t l1_size = 0;
  std::uint64_t l1_table_offset = 0;
  bool zstd = false;
  bool extended_l2 = false;

  [[nodiscard]] std::uint32_t cluster_size() const { return 1u << cluster_bits; }
  [[nodiscard]] std::uint32_t l2_entry_size() const { return extended_l2 ? 16 : 8; }
  [[nodiscard]] std::uint64_t l2_entries() const { return cluster_size() / l2_entry_size(); }
};

/// Enough of the file for every header and its extensions that we look at.
inline constexpr std::size_t kQcow2HeaderRead = 65536;

/// Decodes and refuses, by name, what must not or cannot be read: backing file, external data file, encryption,
/// corrupt images, unknown incompatible features. `start` is the first bytes of a file of `file_size` bytes.
Result<Qcow2Header> decode_qcow2_header(ByteSpan start, std::uint64_t file_size);

enum class ClusterKind : std::uint8_t { zero, data, compressed, subclusters };

struct Cluster {
  ClusterKind kind = ClusterKind::zero;
  std::uint64_t file_offset = 0;
  std::uint32_t file_length = 0;      // compressed: bytes, clipped to the file
  std::uint32_t allocated = 0;        // subclusters: bit i set, subcluster i is in the file; else it is zero
};

/// The L2 table's offset of an L1 entry; nothing when the whole range is unallocated.
Result<std::optional<std::uint64_t>> decode_l1_entry(const Qcow2Header& header, std::uint64_t entry, std::uint64_t file_size);

/// `bitmap` is the second half of an extended entry. `needed` is how many bytes of the cluster belong to the disk.
Result<Cluster> decode_l2_entry(const Qcow2Header& header, std::uint64_t entry, std::uint64_t bitmap, std::uint32_t needed, std::uint64_t file_size);

}  // namespace ironrack::image
