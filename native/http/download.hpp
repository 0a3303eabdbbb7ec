// A file that is fetched over HTTP, in as many attempts as it takes, and that others may read while it arrives.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bytes/hasher.hpp"
#include "image/image_file.hpp"

namespace ironrack::http {

/// The file, what arrived of it, and its digest. One attempt writes at a time; anybody may ask for arriving().
class Download {
 public:
  struct Expected {
    std::string algorithm;
    std::string value;
  };

  /// Makes the file, which must not be there.
  static Result<std::shared_ptr<Download>> create(const std::string& path, std::optional<Expected> expected);

  /// Goes on with the file of an earlier process, whose first `bytes` of `total` are known to be on the disk; what lies behind them is dropped.
  static Result<std::shared_ptr<Download>> reopen(const std::string& path, std::optional<Expected> expected, std::uint64_t bytes, std::uint64_t total);

  [[nodiscard]] std::uint64_t received() const { return received_; }
  /// Of these: bytes that a loss of power leaves.
  [[nodiscard]] std::uint64_t durable() const { return durable_; }
  /// The file for readers. None until its size is known: then it can only be read when it is whole.
  [[nodiscard]] std::shared_ptr<const image::ArrivingFile> arriving() const;

  /// After reopen(): reads what is there into the digest. `step` is called now and then and ends it by answering false.
  Result<void> catch_up(const std::function<bool()>& step);
  /// What comes next lies at `offset`, which is 0 or received(); `total` is the size of the whole, if the server tells.
  Result<void> begin(std::uint64_t offset, std::optional<std::uint64_t> total);
  Result<void> append(ByteSpan bytes);
  /// What was appended is in the file, also when no more comes.
  Result<void> flush();
  /// What came so far is on the disk for good.
  Result<void> sync();
  /// All is there: on disk, and its digest (empty without a checksum to compare it with) is answered.
  Result<std::string> finish();
  /// Nothing more will come; readers are told why.
  void abandon(Fault fault);
  /// Lets go of the file, of which a removed one takes up room as long as it is open. Between attempts, and the last thing that is done; those who read it go on.
  void close();

 private:
  explicit Download(std::optional<Expected> expected) : expected_(std::move(expected)) {}
  Result<void> clear(std::optional<std::uint64_t> total);
  Result<void> make_hasher();
  Result<void> write(std::uint64_t offset, ByteSpan bytes);
  Result<void> compare(std::uint64_t offset, ByteSpan bytes);

  std::optional<Expected> expected_;
  UniqueFd fd_;
  std::optional<Hasher> hasher_;
  std::vector<std::byte> buffer_;
  std::uint64_t received_ = 0;  // in the file, of this attempt or those it goes on from
  std::uint64_t durable_ = 0;
  std::uint64_t undigested_ = 0;  // of received_: from the beginning, not in hasher_ yet
  std::uint64_t shown_ = 0;     // the most that readers were ever shown: must not change any more
  std::optional<std::uint64_t> total_;
  mutable std::mutex mutex_;
  std::shared_ptr<const image::ArrivingFile> arriving_;
};

}  // namespace ironrack::http
