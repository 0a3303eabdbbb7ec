#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <tuple>
#include <vector>

#include "pipeline/extent_planner.hpp"
#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::pipeline;

namespace {

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::uint64_t kQuarter = kMib / 4;
constexpr std::uint64_t kSize = 4 * kMib + 300001;  // ends askew, behind what a buffer holds

/// Bytes in a file, with a gap too short to be a hole at 1 MiB + 264 KiB, and a hole from 3 to 4 MiB.
class GappedSource final : public image::Source {
 public:
  GappedSource() : file_(::memfd_create("planner test", MFD_CLOEXEC)) {
    std::vector<unsigned char> bytes(kSize);
    for (std::size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<unsigned char>(i * 2654435761u >> 13 | 1);
    [[maybe_unused]] const auto written = ::pwrite(file_.get(), bytes.data(), bytes.size(), 0);
  }
  std::string_view format() const override { return "gapped"; }
  std::uint64_t virtual_size() const override { return kSize; }
  std::uint32_t decode_unit() const override { return 65536; }
  int file() const override { return file_.get(); }
  Result<image::Extent> extent_at(std::uint64_t offset) override {
    using enum image::ExtentKind;
    constexpr std::uint64_t kGap = kMib + kQuarter + 8192;
    if (offset < kGap) return image::Extent{offset, kGap - offset, file, offset, 0};
    if (offset < kGap + 4096) return image::Extent{offset, kGap + 4096 - offset, zero, 0, 0};
    if (offset < 3 * kMib) return image::Extent{offset, 3 * kMib - offset, file, offset, 0};
    if (offset < 4 * kMib) return image::Extent{offset, 4 * kMib - offset, zero, 0, 0};
    return image::Extent{offset, kSize - offset, file, offset, 0};
  }

 private:
  UniqueFd file_;
};

using Laid = std::tuple<std::uint64_t, std::uint64_t, BlockKind>;

std::vector<Laid> laid_out(const IntervalSet& wanted) {
  GappedSource source;
  Wakeup wakeup;
  Carousel carousel(64, wakeup);
  BufferPool pool(16, block_bytes(source));
  pool.allow(16);
  std::vector<Laid> laid;
  {
    DecodePool decoders(1, source.decode_unit(), source.file(), false, carousel);
    ExtentPlanner planner({source, carousel, pool, decoders, false});
    CHECK(planner.run_pass(wanted).has_value());
    for (std::uint64_t number = 0; const auto block = carousel.at(number); number++) {
      while (block->state.load(std::memory_order_acquire) == BlockState::pending) std::this_thread::yield();
      CHECK(block->state.load() == BlockState::ready);
      laid.emplace_back(block->offset, block->length, block->kind);
    }
    carousel.release_before(UINT64_MAX);
  }
  return laid;
}

}  // namespace

RULE("stored bytes go out a mebibyte at a time; what needs a buffer fits into one, at a multiple of its size") {
  IntervalSet all;
  all.add(0, kSize);
  const std::vector<Laid> expected = {
      {0, kMib, BlockKind::file},
      {kMib, kQuarter, BlockKind::file},
      {kMib + kQuarter, kQuarter, BlockKind::memory},
      {kMib + 2 * kQuarter, 2 * kQuarter, BlockKind::file},
      {2 * kMib, kMib, BlockKind::file},
      {3 * kMib, kMib, BlockKind::zero},
      {4 * kMib, kQuarter, BlockKind::file},
      {4 * kMib + kQuarter, 300001 - kQuarter, BlockKind::memory},
  };
  CHECK(laid_out(all) == expected);
}

RULE("a later pass lays out what needs a buffer as the first did, and nothing that is not wanted") {
  IntervalSet some;
  some.add(kMib + kQuarter + 100, kMib + kQuarter + 200);
  some.add(kSize - 1, kSize);
  const std::vector<Laid> expected = {
      {kMib + kQuarter, kQuarter, BlockKind::memory},
      {4 * kMib + kQuarter, 300001 - kQuarter, BlockKind::memory},
  };
  CHECK(laid_out(some) == expected);
}
