#include "pipeline/decode_pool.hpp"

#include <algorithm>

#include "bytes/crc32c.hpp"
#include "pipeline/planner.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::size_t kScratchBytes = 65536;
constexpr unsigned kToldTogether = 4;  // blocks of a worker that has more to do: the sending thread would interrupt it for each
static_assert(kScratchBytes % kChecksumPiece == 0 && kAlignment % kChecksumPiece == 0);

void append_checksums(Block& block, ByteSpan bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kChecksumPiece) block.piece_checksums.push_back(crc32c(0, bytes.subspan(at, kChecksumPiece)));
}

}  // namespace

void sum_memory(Block& block) {
  const auto whole = static_cast<std::size_t>(block.length / kChecksumPiece);
  const auto rest = static_cast<std::size_t>(block.length % kChecksumPiece);
  append_checksums(block, {block.memory.get(), (whole + (rest > 0 ? 1 : 0)) * kChecksumPiece});
  block.checksum = crc32c_of_pieces(std::span(block.piece_checksums).first(whole));
  if (rest > 0) block.checksum = crc32c_combine(block.checksum, crc32c(0, {block.memory.get() + whole * kChecksumPiece, rest}), rest);
}

DecodePool::DecodePool(unsigned workers, std::uint32_t unit, int file, bool checksums, Carousel& carousel)
    : unit_(unit), file_(file), checksums_(checksums), carousel_(carousel) {
  for (unsigned i = 0; i < workers; i++) threads_.emplace_back([this] { work(); });
}

DecodePool::~DecodePool() {
  close();
  for (auto& thread : threads_) thread.join();
}

void DecodePool::submit(BlockRef block) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(block));
  some_.notify_one();
}

void DecodePool::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  queue_.clear();
  some_.notify_all();
}

void DecodePool::work() {
  image::Decoder decoder;
  std::vector<std::byte> scratch(checksums_ ? kScratchBytes : 0);
  unsigned untold = 0;
  const auto tell = [&] {
    if (std::exchange(untold, 0) > 0) carousel_.notify();
  };
  while (true) {
    BlockRef block;
    {
      std::unique_lock lock(mutex_);
      if (queue_.empty()) tell();
      some_.wait(lock, [&] { return closed_ || !queue_.empty(); });
      if (closed_) return;
      block = std::move(queue_.front());
      queue_.pop_front();
    }
    Result<void> done;
    if (block->kind == BlockKind::memory) done = fill(*block, decoder);
    if (done && checksums_) done = sum(*block, scratch);
    if (!done) block->fault = std::move(done.error());
    block->state.store(done ? BlockState::ready : BlockState::failed, std::memory_order_release);
    block.reset();
    if (++untold >= kToldTogether || !done) tell();
  }
}

Result<void> DecodePool::fill(const Block& block, image::Decoder& decoder) const {
  const std::span<std::byte> room(block.memory.get(), static_cast<std::size_t>(align_up(block.length, kAlignment)));
  for (const auto& extent : block.extents) {
    const auto out = room.subspan(extent.offset - block.offset, extent.length);
    if (auto decoded = decoder.decode(extent, file_, unit_, out); !decoded) return decoded;
  }
  std::ranges::fill(room.subspan(block.length), std::byte{0});
  return {};
}

Result<void> DecodePool::sum(Block& block, std::span<std::byte> scratch) const {
  if (block.kind == BlockKind::memory) {
    sum_memory(block);
    return {};
  }
  // Through a buffer that stays in the processor's cache; the bytes themselves leave from the file. A mapping would save the
  // copy, and be a SIGBUS when the file shrinks.
  std::size_t filled = 0;
  for (const auto& part : block.parts) {
    for (std::uint32_t at = 0; at < part.length;) {
      const auto piece = static_cast<std::uint32_t>(std::min<std::size_t>(part.length - at, scratch.size() - filled));
      if (auto read = image::read_at(block.file, part.file_offset + at, scratch.subspan(filled, piece)); !read) return read;
      at += piece;
      filled += piece;
      if (filled < scratch.size()) continue;
      append_checksums(block, scratch);
      filled = 0;
    }
  }
  append_checksums(block, scratch.first(filled));
  block.checksum = crc32c_of_pieces(block.piece_checksums);  // a file block is whole pieces
  return {};
}

}  // namespace ironrack::pipeline
