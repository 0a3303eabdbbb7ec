// Walks the active disk of a qcow2 image; internal snapshots are not looked at.
#include <algorithm>

#include "image/qcow2.hpp"
#include "image/source.hpp"

namespace ironrack::image {
namespace {

constexpr std::uint64_t kLongestRun = 64 << 20;  // of data, so that a caller can stop within a long walk
constexpr std::uint64_t kL1Slice = 4096;         // entries read at a time: memory does not grow with the image

class Qcow2Source final : public Source {
 public:
  Qcow2Source(ImageFile file, const Qcow2Header& header) : file_(std::move(file)), header_(header) {}

  std::string_view format() const override { return "qcow2"; }
  std::uint64_t virtual_size() const override { return header_.size; }
  std::uint32_t decode_unit() const override { return header_.cluster_size(); }
  int file() const override { return file_.fd; }

  Result<Extent> extent_at(std::uint64_t offset) override {
    auto run = run_at(offset);
    if (!run || run->kind == ExtentKind::zero) return run;
    // A run of stored clusters is handed out as far as it has come; a compressed one is of use only as a whole.
    const bool stored = run->kind == ExtentKind::file;
    const auto there = file_.wait_for(run->file_offset + (stored ? std::min<std::uint64_t>(run->length, header_.cluster_size()) : run->file_length));
    if (!there) return std::unexpected(there.error());
    if (stored) run->length = std::min(run->length, *there - run->file_offset);
    return run;
  }

 private:
  /// As extent_at(), without waiting for the run's bytes.
  Result<Extent> run_at(std::uint64_t offset) {
    auto run = piece_at(offset);
    if (!run) return run;
    if (run->kind != ExtentKind::zero && run->kind != ExtentKind::file) return run;
    while (true) {
      const auto next_offset = run->offset + run->length;
      if (next_offset >= header_.size || (run->kind == ExtentKind::file && run->length >= kLongestRun)) return run;
      const auto next = piece_at(next_offset);
      if (!next) return next;
      if (next->kind != run->kind || (run->kind == ExtentKind::file && next->file_offset != run->file_offset + run->length)) return run;
      run->length += next->length;
    }
  }

  /// The rest, from `offset` on, of one cluster, of one subcluster run, or of an unallocated L2 table's range.
  Result<Extent> piece_at(std::uint64_t offset) {
    const std::uint64_t cluster_size = header_.cluster_size();
    const std::uint64_t per_l1_entry = header_.l2_entries() * cluster_size;
    const auto l1_index = offset / per_l1_entry;
    const auto table = l2_table_at(l1_index);
    if (!table) return std::unexpected(table.error());
    if (!*table) {
      const auto end = std::min(header_.size, (l1_index + 1) * per_l1_entry);
      return Extent{offset, end - offset, ExtentKind::zero, 0, 0};
    }

    const auto cluster_begin = offset / cluster_size * cluster_size;
    const auto cluster_end = std::min(header_.size, cluster_begin + cluster_size);
    const auto entry_at = (offset % per_l1_entry) / cluster_size * header_.l2_entry_size();
    const auto entry = load_be<std::uint64_t>(&l2_[entry_at]);
    const auto bitmap = header_.extended_l2 ? load_be<std::uint64_t>(&l2_[entry_at + 8]) : 0;
    auto cluster = decode_l2_entry(header_, entry, bitmap, static_cast<std::uint32_t>(cluster_end - cluster_begin), file_.size);
    if (!cluster) return std::unexpected(std::move(cluster.error()).with("offset", cluster_begin));

    const auto within = offset - cluster_begin;
    switch (cluster->kind) {
      case ClusterKind::zero: return Extent{offset, cluster_end - offset, ExtentKind::zero, 0, 0};
      case ClusterKind::data: return Extent{offset, cluster_end - offset, ExtentKind::file, cluster->file_offset + within, 0};
      case ClusterKind::compressed:
        // A compressed cluster can only be had as a whole: callers walk from cluster boundaries.
        return Extent{cluster_begin, cluster_end - cluster_begin, header_.zstd ? ExtentKind::zstd : ExtentKind::deflate, cluster->file_offset, cluster->file_length};
      case ClusterKind::subclusters: break;
    }
    const std::uint64_t subcluster_size = cluster_size / 32;
    auto index = within / subcluster_size;
    const bool allocated = (cluster->allocated >> index & 1) != 0;
    while (index < 32 && ((cluster->allocated >> index & 1) != 0) == allocated) index++;
    const auto end = std::min(cluster_end, cluster_begin + index * subcluster_size);
    return Extent{offset, end - offset, allocated ? ExtentKind::file : ExtentKind::zero, allocated ? cluster->file_offset + within : 0, 0};
  }

  /// True when the L1 entry has an L2 table, which is then in l2_.
  Result<bool> l2_table_at(std::uint64_t l1_index) {
    if (l1_.empty() || l1_index < l1_begin_ || l1_index >= l1_begin_ + l1_.size() / 8) {
      l1_begin_ = l1_index / kL1Slice * kL1Slice;
      const auto count = std::min<std::uint64_t>(kL1Slice, l1_entries() - l1_begin_);
      l1_.resize(count * 8);
      if (auto read = file_.read_at(header_.l1_table_offset + l1_begin_ * 8, l1_); !read) {
        l1_.clear();
        return std::unexpected(std::move(read.error()));
      }
    }
    auto offset = decode_l1_entry(header_, load_be<std::uint64_t>(&l1_[(l1_index - l1_begin_) * 8]), file_.size);
    if (!offset) return std::unexpected(std::move(offset.error()));
    if (!*offset) return false;
    if (l2_offset_ != **offset) {
      l2_offset_ = 0;
      l2_.resize(header_.cluster_size());
      if (auto read = file_.read_at(**offset, l2_); !read) return std::unexpected(std::move(read.error()));
      l2_offset_ = **offset;
    }
    return true;
  }

  [[nodiscard]] std::uint64_t l1_entries() const { return (header_.size - 1) / (header_.l2_entries() * header_.cluster_size()) + 1; }

  ImageFile file_;
  Qcow2Header header_;
  std::vector<std::byte> l1_;
  std::uint64_t l1_begin_ = 0;
  std::vector<std::byte> l2_;
  std::uint64_t l2_offset_ = 0;  // 0: none; the header is there
};

}  // namespace

Result<std::unique_ptr<Source>> open_qcow2(const ImageFile& file) {
  std::vector<std::byte> start(static_cast<std::size_t>(std::min<std::uint64_t>(file.size, kQcow2HeaderRead)));
  if (auto read = file.read_at(0, start); !read) return std::unexpected(std::move(read.error()));
  auto header = decode_qcow2_header(start, file.size);
  if (!header) return std::unexpected(std::move(header.error()));
  return std::make_unique<Qcow2Source>(file, *header);
}

}  // namespace ironrack::image
