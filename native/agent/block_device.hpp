// A disk, or a file that stands for one: bounded reads and writes, zeroing, discarding, flushing.
#pragma once

#include "file.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>

namespace agent {

using ByteSpan = std::span<const std::uint8_t>;

class BlockDevice {
public:
    enum class Use {
        read,
        write,
        exclusive,  // write, and fault `busy` if a mount, RAID, LVM or the iSCSI target holds the disk
    };

    static Result<BlockDevice> open(const std::string& path, Use use);

    const std::string& path() const { return path_; }
    std::uint64_t size() const { return size_; }              // bytes
    std::uint32_t sector_size() const { return sector_size_; }  // logical, bytes
    bool is_block() const { return is_block_; }               // false: a regular file
    int descriptor() const { return file_.get(); }

    // All of the range, or a fault; a range past the end is a fault.
    Result<void> read(std::uint64_t offset, std::span<std::uint8_t> into) const;
    Result<void> write(std::uint64_t offset, ByteSpan bytes);

    // Makes a range read as zeros. `progress` hears the bytes done; the token is looked at every 64 MiB.
    Result<void> zero(std::uint64_t offset, std::uint64_t length, const std::stop_token& stop,
                      const std::function<void(std::uint64_t)>& progress = {});

    // Tells the disk that nothing in the range is needed. Faults `unsupported` where it cannot; what the range
    // holds afterwards is undefined.
    Result<void> discard(std::uint64_t offset, std::uint64_t length);

    // Everything written is on the disk; what is read next comes from there and not from the page cache.
    Result<void> flush();

    // Has the kernel read the partition table anew. Nothing to do for a file.
    Result<void> reread_partition_table();

private:
    Result<void> write_zeros(std::uint64_t offset, std::uint64_t length);

    std::string path_;
    Descriptor file_;
    std::uint64_t size_ = 0;
    std::uint32_t sector_size_ = 512;
    bool is_block_ = false;
};

}  // namespace agent
