#include "block_device.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace agent {

namespace {
constexpr std::uint64_t zero_step = 64 * 1024 * 1024;
}

Result<BlockDevice> BlockDevice::open(const std::string& path, Use use)
{
    BlockDevice device;
    device.path_ = path;

    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
        return fail_errno("looking at " + path);
    }
    device.is_block_ = S_ISBLK(status.st_mode);
    if (!device.is_block_ && !S_ISREG(status.st_mode)) {
        return fail(FaultKind::invalid, path + " is neither a block device nor a file");
    }
    int flags = O_CLOEXEC | (use == Use::read ? O_RDONLY : O_RDWR);
    if (use == Use::exclusive && device.is_block_) {
        flags |= O_EXCL;
    }
    device.file_ = Descriptor(::open(path.c_str(), flags));
    if (!device.file_) {
        return fail_errno("opening " + path);
    }
    if (!device.is_block_) {
        device.size_ = static_cast<std::uint64_t>(status.st_size);
        return device;
    }
    int sector_size = 0;
    if (::ioctl(device.file_.get(), BLKGETSIZE64, &device.size_) != 0 || ::ioctl(device.file_.get(), BLKSSZGET, &sector_size) != 0) {
        return fail_errno("asking the size of " + path);
    }
    if (sector_size < 512 || sector_size > 65536) {
        return fail(FaultKind::storage, path + " has sectors of " + std::to_string(sector_size) + " bytes");
    }
    device.sector_size_ = static_cast<std::uint32_t>(sector_size);
    return device;
}

Result<void> BlockDevice::read(std::uint64_t offset, std::span<std::uint8_t> into) const
{
    if (offset > size_ || into.size() > size_ - offset) {
        return fail(FaultKind::invalid, "reading " + path_ + " past its end");
    }
    while (!into.empty()) {
        const ssize_t got = ::pread(file_.get(), into.data(), into.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? fail_errno("reading " + path_) : fail(FaultKind::storage, "reading " + path_ + ": it ended early");
        }
        offset += static_cast<std::uint64_t>(got);
        into = into.subspan(static_cast<std::size_t>(got));
    }
    return {};
}

Result<void> BlockDevice::write(std::uint64_t offset, ByteSpan bytes)
{
    if (offset > size_ || bytes.size() > size_ - offset) {
        return fail(FaultKind::invalid, "writing " + path_ + " past its end");
    }
    while (!bytes.empty()) {
        const ssize_t wrote = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return fail_errno("writing " + path_);
        }
        offset += static_cast<std::uint64_t>(wrote);
        bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    }
    return {};
}

Result<void> BlockDevice::write_zeros(std::uint64_t offset, std::uint64_t length)
{
    static const std::vector<std::uint8_t> zeros(1024 * 1024);
    while (length > 0) {
        const std::uint64_t step = std::min<std::uint64_t>(length, zeros.size());
        if (auto done = write(offset, ByteSpan(zeros.data(), step)); !done) {
            return done;
        }
        offset += step;
        length -= step;
    }
    return {};
}

Result<void> BlockDevice::zero(std::uint64_t offset, std::uint64_t length, const std::stop_token& stop,
                               const std::function<void(std::uint64_t)>& progress)
{
    if (offset > size_ || length > size_ - offset) {
        return fail(FaultKind::invalid, "zeroing " + path_ + " past its end");
    }
    std::uint64_t done = 0;
    while (done < length) {
        if (stop.stop_requested()) {
            return fail(FaultKind::cancelled, "zeroing " + path_ + " was cancelled");
        }
        const std::uint64_t step = std::min(zero_step, length - done);
        // BLKZEROOUT uses the disk's own command for zeros where it has one, and writes zeros where it has not.
        std::uint64_t range[2] = {offset + done, step};
        const bool offloaded = is_block_ ? ::ioctl(file_.get(), BLKZEROOUT, range) == 0
                                         : ::fallocate(file_.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                                       static_cast<off_t>(range[0]), static_cast<off_t>(step)) == 0;
        if (!offloaded) {
            if (auto written = write_zeros(offset + done, step); !written) {
                return written;
            }
        }
        done += step;
        if (progress) {
            progress(done);
        }
    }
    return {};
}

Result<void> BlockDevice::discard(std::uint64_t offset, std::uint64_t length)
{
    std::uint64_t range[2] = {offset, length};
    const int status = is_block_ ? ::ioctl(file_.get(), BLKDISCARD, range)
                                 : ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                               static_cast<off_t>(length));
    if (status != 0) {
        return errno == EOPNOTSUPP || errno == EINVAL ? fail(FaultKind::unsupported, path_ + " cannot discard")
                                                      : fail_errno("discarding on " + path_);
    }
    return {};
}

Result<void> BlockDevice::flush()
{
    if (::fsync(file_.get()) != 0) {
        return fail_errno("flushing " + path_);
    }
    ::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_DONTNEED);
    return {};
}

Result<void> BlockDevice::reread_partition_table()
{
    if (!is_block_) {
        return {};
    }
    // Just after a write, readers that were told of it may still hold a partition: EBUSY passes by itself.
    for (int attempt = 0;; ++attempt) {
        if (::ioctl(file_.get(), BLKRRPART) == 0) {
            return {};
        }
        if (errno == EINVAL) {
            return {};  // a device without partitions, such as a loop device made without them
        }
        if (errno != EBUSY || attempt == 10) {
            return fail_errno("reading the partition table of " + path_ + " anew");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
}

}  // namespace agent
