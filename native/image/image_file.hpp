// A file with an image: opening it, telling whether it changed, and reading it, also while it is still being written.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <string>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"
#include "bytes/unique_fd.hpp"
#include "image/arrival.hpp"

namespace ironrack::image {

/// What the file was when it was opened; a stream from a file that changes meanwhile is no copy of anything.
struct FileIdentity {
  std::uint64_t size = 0;
  std::int64_t modified_s = 0;
  std::int64_t modified_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

struct OpenedFile {
  UniqueFd fd;
  FileIdentity identity;
};

/// Opens a regular file or block device for reading.
Result<OpenedFile> open_file(const std::string& path);
Result<FileIdentity> identify(int fd);

/// Reads exactly `out.size()` bytes; fewer is a malformed fault, an I/O error a storage fault.
Result<void> read_at(int fd, std::uint64_t offset, std::span<std::byte> out);

/// A file that something is still writing. Its holders can read it, whatever becomes of its name.
struct ArrivingFile {
  UniqueFd fd;
  std::shared_ptr<Arrival> arrival;
};

/// An open image file as its readers see it. Copies share the descriptor, which outlives them.
struct ImageFile {
  int fd = -1;
  std::uint64_t size = 0;
  std::shared_ptr<Arrival> arrival;  // none: all bytes are there
  std::stop_token stop;              // ends every wait for bytes with a fault

  /// Waits until the bytes before `end` are there; answers the offset before which all are.
  [[nodiscard]] Result<std::uint64_t> wait_for(std::uint64_t end) const;
  /// read_at(), once the bytes are there.
  Result<void> read_at(std::uint64_t offset, std::span<std::byte> out) const;
};

}  // namespace ironrack::image
