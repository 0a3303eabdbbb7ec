// What a transfer sends: an open file, mapped, or bytes in memory. The mapping is only ever handed to the kernel, which
// answers EFAULT where the file has become shorter or cannot be read; nobody here reads through it, which would be SIGBUS.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"
#include "bytes/unique_fd.hpp"

namespace ironrack::serve {

class SentFile {
 public:
  explicit SentFile(std::vector<std::byte> bytes) : bytes_(std::move(bytes)), data_(bytes_.data()), size_(bytes_.size()) {}
  static Result<std::shared_ptr<SentFile>> map(UniqueFd file, std::uint64_t size);
  ~SentFile();
  SentFile(const SentFile&) = delete;
  SentFile& operator=(const SentFile&) = delete;

  [[nodiscard]] const std::byte* at(std::uint64_t offset) const { return data_ + offset; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// The file is shorter than it was: what lies in the page behind its new end reads as zeros, without an error.
  [[nodiscard]] bool shrunk() const;
  /// Why the kernel could not read it.
  [[nodiscard]] Fault unreadable() const;

 private:
  SentFile(UniqueFd file, const std::byte* data, std::uint64_t size) : file_(std::move(file)), data_(data), size_(size) {}

  UniqueFd file_;
  std::vector<std::byte> bytes_;
  const std::byte* data_;
  std::uint64_t size_;
};

}  // namespace ironrack::serve
