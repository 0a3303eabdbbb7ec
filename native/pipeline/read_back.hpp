// A walk over records of what the disk should hold: which to read next, and whether what came is right.
#pragma once

#include <vector>

#include "bytes/endian.hpp"
#include "bytes/fault.hpp"
#include "pipeline/checkpoint.hpp"

namespace ironrack::pipeline {

class ReadBack {
 public:
  /// `records` outlives the walk and does not change during it.
  void begin(const std::vector<Record>& records) {
    records_ = &records;
    next_ = 0;
    left_ = records.size();
  }
  /// Nothing is left to compare.
  [[nodiscard]] bool over() const { return left_ == 0; }
  [[nodiscard]] bool all_given() const { return records_ == nullptr || next_ >= records_->size(); }
  /// Gives no more.
  void stop() { next_ = records_->size(); }
  /// The next record's number.
  std::size_t give() { return next_++; }
  [[nodiscard]] const Record& record(std::size_t number) const { return (*records_)[number]; }

  /// Compares what was read of it, which may be longer by the rest of a block.
  Result<void> take(std::size_t number, ByteSpan bytes, std::uint32_t block_size);

 private:
  const std::vector<Record>* records_ = nullptr;
  std::size_t next_ = 0;
  std::size_t left_ = 0;
};

}  // namespace ironrack::pipeline
