// Images that a program of another house reads for us: what must be known of one, from its own structures, before that program may see it.
// Names of other files, wherever the format has a place for them, are refused; so is a block that lies behind the end of the file, which
// the program would take for zeroes.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "image/image_file.hpp"

namespace ironrack::image {

struct Convertible {
  std::uint64_t virtual_size = 0;
  /// Of the disk: what the image has blocks for, and a converted one at most needs beside its tables.
  std::uint64_t data_bytes = 0;
};

/// vmdk, vhdx and vdi.
bool is_convertible(std::string_view format);

/// @faults invalid (content of another format), unsupported (needs other files, or is of a kind that we do not take), malformed
Result<Convertible> check_convertible(const ImageFile& file, std::string_view format);

/// As a job.
class ConvertibleCheck {
 public:
  struct Progress {};
  using Outcome = Convertible;

  ConvertibleCheck(std::string path, std::string format) : path_(std::move(path)), format_(std::move(format)) {}

  Result<Outcome> run(const std::function<void(const Progress&)>& on_progress);
  /// From any thread; run() then returns within moments.
  void cancel() { stop_.request_stop(); }

 private:
  std::string path_;
  std::string format_;
  std::stop_source stop_;
};

/// Each format's own look; that the file begins as one has been seen.
Result<Convertible> check_vmdk(const ImageFile& file);
Result<Convertible> check_vhdx(const ImageFile& file);
Result<Convertible> check_vdi(const ImageFile& file);

/// What the looks have in common: a table in the file is walked a piece at a time, and each entry's block must lie within the file.
class TableWalk {
 public:
  explicit TableWalk(const ImageFile& file) : file_(file) {}

  /// `entry(index, bytes)` for each of `count` entries of `size` bytes from `offset` on.
  Result<void> each(std::uint64_t offset, std::uint64_t count, std::size_t size, const std::function<Result<void>(std::uint64_t, const std::byte*)>& entry) const;
  /// `needed` bytes from `offset` on are in the file.
  [[nodiscard]] Result<void> within(std::uint64_t offset, std::uint64_t needed) const;

 private:
  const ImageFile& file_;
};

}  // namespace ironrack::image
