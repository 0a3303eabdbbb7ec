// Lays out an image that has to be unpacked: finds runs of zeroes in what comes out, and makes blocks of the rest. Segments
// are unpacked side by side. A later pass begins again at the segments' beginnings and drops what nobody misses, so that
// memory stays bounded whatever a late target lacks.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>

#include "image/packed.hpp"
#include "pipeline/buffer_pool.hpp"
#include "pipeline/planner.hpp"

namespace ironrack::pipeline {

class PackedPlanner final : public Planner {
 public:
  struct Parts {
    const image::PackedImage& image;
    Carousel& carousel;
    BufferPool& pool;
    std::atomic<std::uint64_t>& virtual_size;  // set once it is known, before the last block is laid out
    unsigned workers;
    bool checksums;  // somebody needs them of all data
  };

  explicit PackedPlanner(Parts parts) : parts_(parts) {}

  Result<void> run_pass(const IntervalSet& wanted) override;
  [[nodiscard]] std::uint64_t position() const override { return position_.load(std::memory_order_relaxed); }

 private:
  /// The run of zeroes that is being gathered.
  struct Hole {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  void work(const IntervalSet& wanted);
  Result<void> unpack(const image::Segment& segment, const IntervalSet& wanted);
  /// Lets go of the buffer when blocks lie in it. False once the carousel is closed.
  bool lay_out(std::uint64_t offset, std::shared_ptr<std::byte>& buffer, std::size_t count, Hole& hole);
  bool end_hole(Hole& hole);

  Parts parts_;
  std::atomic<std::uint64_t> position_ = 0;
  std::atomic<std::size_t> next_segment_ = 0;
  bool again_ = false;  // not the first pass
  std::mutex mutex_;
  std::optional<Fault> fault_;
};

/// How many unpackers may work side by side on this image within the memory that a job takes.
unsigned unpackers_for(const image::PackedImage& image, unsigned processors);

}  // namespace ironrack::pipeline
