// A run of the virtual disk on its way to all targets.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "image/source.hpp"
#include "iscsi/payload.hpp"

namespace ironrack::pipeline {

/// Block boundaries lie at multiples of this, whatever the sector size of a target.
inline constexpr std::uint64_t kAlignment = 4096;
/// The data of one write command that the target takes without asking for it.
inline constexpr std::uint32_t kCommandBytes = 262144;
/// The most data of one that it has to ask for, and of a block that lies in the file.
inline constexpr std::uint32_t kMostCommandBytes = 1 << 20;

enum class BlockKind : std::uint8_t { zero, memory, file };
enum class BlockState : std::uint8_t { pending, ready, failed };

struct Block {
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// CRC32C of [begin, begin + count) of the disk, which lies in this block; nothing when its file does not give the bytes. Not for zeroes.
  [[nodiscard]] std::optional<std::uint32_t> checksum_of(std::uint64_t begin, std::uint32_t count) const;

  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  BlockKind kind = BlockKind::zero;

  // memory: filled up with zeroes to a multiple of kAlignment; blocks may lie in one buffer
  std::shared_ptr<std::byte> memory;
  std::vector<image::Extent> extents;  // what to fill it with

  // file
  int file = -1;
  std::vector<iscsi::FilePart> parts;

  // when asked for
  std::vector<std::uint32_t> piece_checksums;  // CRC32C of each kChecksumPiece, those behind the end included
  std::uint32_t checksum = 0;                  // CRC32C of the data

  std::atomic<BlockState> state = BlockState::pending;
  Fault fault;  // when failed
};

using BlockRef = std::shared_ptr<Block>;

}  // namespace ironrack::pipeline
