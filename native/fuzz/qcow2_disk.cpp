#include <libdeflate.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "fuzz/memory_file.hpp"
#include "fuzz/qcow2.hpp"
#include "image/decoder.hpp"
#include "image/source.hpp"

namespace ironrack::fuzz {
namespace {

constexpr std::uint64_t kMostExtents = 3000;   // a changed image may be of any size
constexpr std::uint64_t kMostLooked = 4 << 20;  // of one extent's bytes

/// An image that is whole, and the disk that it holds.
class Image {
 public:
  explicit Image(Input& input) : input_(input), extended_(input.one_in(3)), zstd_(input.one_in(2)), bits_(extended_ ? 14 : 9 + input.below(6)) {
    const std::uint64_t cluster = std::uint64_t{1} << bits_;
    const std::uint64_t entry = extended_ ? 16 : 8;
    const std::uint64_t per_table = cluster / entry * cluster;
    const std::uint64_t clusters = 1 + input.below(12);
    // Some disks go over the end of their first table, by a hole.
    const bool far = bits_ < 12 && input.one_in(3);
    size_ = (far ? per_table : 0) + clusters * cluster - input.below(static_cast<std::uint32_t>(cluster));
    const auto tables = (size_ - 1) / per_table + 1;
    file_.resize(cluster * (2 + tables));
    header(tables);
    disk_.resize(size_);
    for (std::uint64_t i = 0; i < tables; i++) {
      if (far && i + 1 < tables && input.one_in(2)) continue;  // no table: zeroes
      const auto table = cluster * (2 + i);
      store_be(&file_[cluster + 8 * i], table | copied());
      for (std::uint64_t j = 0; j < cluster / entry && i * per_table + j * cluster < size_; j++) {
        if (i + 1 == tables || j < 4) fill(table + entry * j, i * per_table + j * cluster);
      }
    }
  }

  Bytes& file() { return file_; }
  [[nodiscard]] const Bytes& disk() const { return disk_; }

 private:
  [[nodiscard]] std::uint64_t copied() { return input_.one_in(2) ? std::uint64_t{1} << 63 : 0; }

  void header(std::uint64_t tables) {
    const std::uint32_t cluster = 1u << bits_;
    store_be<std::uint32_t>(&file_[0], 0x514649fb);
    store_be<std::uint32_t>(&file_[4], 3);
    store_be(&file_[20], bits_);
    store_be(&file_[24], size_);
    store_be(&file_[36], static_cast<std::uint32_t>(tables + input_.below(2)));
    store_be<std::uint64_t>(&file_[40], cluster);
    store_be<std::uint64_t>(&file_[72], (zstd_ ? 8 : 0) | (extended_ ? 16 : 0));
    store_be<std::uint32_t>(&file_[96], 4);
    store_be<std::uint32_t>(&file_[100], 112);
    file_[104] = std::byte{zstd_};
  }

  /// One cluster of the disk, in one of the ways that there are.
  void fill(std::uint64_t entry_at, std::uint64_t disk_at) {
    const std::uint32_t cluster = 1u << bits_;
    const auto put = [&](std::uint64_t entry, std::uint64_t bitmap) {
      store_be(&file_[entry_at], entry);
      if (extended_) store_be(&file_[entry_at + 8], bitmap);
    };
    const auto show = [&](const Bytes& content, std::uint32_t from, std::uint32_t length) {
      for (std::uint32_t i = from; i < from + length && disk_at + i < size_; i++) disk_[disk_at + i] = content[i];
    };
    auto content = input_.noise(input_.one_in(4) ? cluster : cluster / 4);
    content.resize(cluster);
    switch (input_.below(5)) {
      case 0: return put(0, extended_ ? std::uint64_t{input_.below(0xffffffff)} << 32 : 0);
      case 1:
        // A zero cluster, which may keep its place.
        return extended_ ? put(0, 0) : put(1 | (input_.one_in(2) ? end() : 0), 0);
      case 2:
      case 3:
        if (!extended_) {
          put(append(content) | copied(), 0);
          return show(content, 0, cluster);
        } else {
          const auto allocated = input_.one_in(4) ? 0xffffffffu : input_.below(0xffffffff);
          const auto zero = ~allocated & input_.below(0xffffffff);
          if (allocated == 0) return put(0, std::uint64_t{zero} << 32);
          put(append(content), std::uint64_t{zero} << 32 | allocated);
          for (std::uint32_t i = 0; i < 32; i++) {
            if ((allocated >> i & 1) != 0) show(content, i * cluster / 32, cluster / 32);
          }
          return;
        }
      default: {
        const auto packed = pack(content);
        if (packed.size() > cluster) return put(0, 0);
        const auto at = file_.size() + input_.below(600);
        file_.resize(at);
        file_.insert(file_.end(), packed.begin(), packed.end());
        const auto sectors = (at % 512 + packed.size() - 1) / 512;
        put(std::uint64_t{1} << 62 | sectors << (62 - (bits_ - 8)) | at, 0);
        return show(content, 0, cluster);
      }
    }
  }

  [[nodiscard]] std::uint64_t end() const { return (file_.size() + (1u << bits_) - 1) >> bits_ << bits_; }

  std::uint64_t append(const Bytes& content) {
    const auto at = end();
    file_.resize(at);
    file_.insert(file_.end(), content.begin(), content.end());
    return at;
  }

  Bytes pack(const Bytes& content) {
    Bytes out(content.size() + 1024);
    if (zstd_) {
      const auto count = ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 1);
      if (ZSTD_isError(count) != 0) std::abort();
      out.resize(count);
    } else {
      const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> context(libdeflate_alloc_compressor(1), libdeflate_free_compressor);
      const auto count = libdeflate_deflate_compress(context.get(), content.data(), content.size(), out.data(), out.size());
      if (count == 0) std::abort();
      out.resize(count);
    }
    return out;
  }

  Input& input_;
  bool extended_;
  bool zstd_;
  std::uint32_t bits_;
  std::uint64_t size_ = 0;
  Bytes file_;
  Bytes disk_;
};

}  // namespace

/// A whole image reads as its disk. Of a changed one every extent that is handed out lies in the file and follows the last one, and is decoded or
/// refused.
void fuzz_qcow2_disk(Input& input) {
  Image image(input);
  auto& bytes = image.file();
  const bool whole = input.one_in(4);
  if (!whole) {
    // Where it hurts, more often than in the data.
    const auto tables = std::min<std::size_t>(bytes.size(), 16384);
    for (std::uint32_t i = input.below(4); i > 0; i--) store_be(&bytes[8 * input.below(static_cast<std::uint32_t>(tables / 8))], input.number());
    if (input.one_in(2)) input.change(bytes);
  }
  static image::Decoder decoder;
  const auto fd = memory_file(bytes);
  const auto source = image::open_source({.fd = fd.get(), .size = bytes.size(), .arrival = {}, .stop = {}}, "qcow2");
  if (!source) {
    if (whole) std::abort();
    return;
  }
  const auto size = (*source)->virtual_size();
  const auto unit = (*source)->decode_unit();
  std::uint64_t at = 0;
  Bytes out;
  for (std::uint64_t i = 0; at < size && i < kMostExtents; i++) {
    const auto extent = (*source)->extent_at(at);
    if (!extent) {
      if (whole) std::abort();
      return;
    }
    if (extent->offset != at || extent->length == 0 || extent->length > size - at) std::abort();
    const bool stored = extent->kind == image::ExtentKind::file;
    if (stored && (extent->file_offset > bytes.size() || extent->length > bytes.size() - extent->file_offset)) std::abort();
    if (!stored && extent->kind != image::ExtentKind::zero && extent->length > unit) std::abort();
    out.resize(static_cast<std::size_t>(std::min(extent->length, kMostLooked)));
    const auto decoded = decoder.decode(*extent, fd.get(), unit, out);
    if (whole && (!decoded || !std::equal(out.begin(), out.end(), image.disk().begin() + static_cast<std::ptrdiff_t>(at)))) std::abort();
    at += extent->length;
  }
  if (whole && at != size) std::abort();
}

}  // namespace ironrack::fuzz
