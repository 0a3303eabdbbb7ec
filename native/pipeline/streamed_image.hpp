// The image of a job: opened once, checked while it is streamed, and the same file at the end.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>

#include "image/packed.hpp"
#include "image/source.hpp"
#include "pipeline/file_checksum.hpp"
#include "pipeline/request.hpp"
#include "pipeline/wakeup.hpp"

namespace ironrack::pipeline {

class StreamedImage {
 public:
  /// Reads its header and begins to check its sum. Waits for bytes that have not arrived until `stop` is asked for; `wakeup` is woken
  /// when the sum is known.
  Result<void> open(const SourceRequest& request, const std::stop_token& stop, Wakeup& wakeup);

  [[nodiscard]] int file() const { return file_.fd.get(); }
  [[nodiscard]] const image::FileIdentity& identity() const { return file_.identity; }
  /// kUnknownSize while only decoding can tell.
  [[nodiscard]] std::uint64_t virtual_size() const { return packed_ ? packed_->virtual_size() : source_->virtual_size(); }
  // One of the two, the other is null.
  [[nodiscard]] image::Source* source() const { return source_.get(); }
  [[nodiscard]] const image::PackedImage* packed() const { return packed_.get(); }

  /// A small image is checked before a byte is written; for a large one that would only double the time.
  [[nodiscard]] bool may_be_written() const;
  /// Known to be what it should be: its checksum is found right, and all of it arrived.
  [[nodiscard]] bool is_proven() const;
  /// Why it is not what it should be, as far as that is known.
  [[nodiscard]] std::optional<Fault> fault() const;
  /// A fault when the file is another one than at the beginning.
  [[nodiscard]] Result<void> unchanged() const;

 private:
  Result<void> open_file(const SourceRequest& request);

  image::OpenedFile file_;
  std::shared_ptr<image::Arrival> arrival_;  // null: all bytes are there
  std::unique_ptr<image::Source> source_;
  std::unique_ptr<image::PackedImage> packed_;
  std::unique_ptr<FileChecksum> checksum_;
};

}  // namespace ironrack::pipeline
