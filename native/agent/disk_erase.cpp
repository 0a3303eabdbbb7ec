#include "disk_erase.hpp"

#include "ata_security.hpp"
#include "block_device.hpp"
#include "nvme.hpp"

#include <algorithm>
#include <vector>

namespace agent {

namespace {

constexpr std::size_t sample_size = 64 * 1024;
constexpr int samples = 64;

// Evenly spread samples: a drive that acknowledged zeros and wrote none would be found out.
Result<void> check_zeros(const BlockDevice& disk)
{
    std::vector<std::uint8_t> bytes;
    for (int i = 0; i <= samples; ++i) {
        const std::uint64_t last = disk.size() > sample_size ? disk.size() - sample_size : 0;
        const std::uint64_t offset = last / samples * static_cast<std::uint64_t>(i);
        bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(sample_size, disk.size() - offset)));
        if (auto read = disk.read(offset, bytes); !read) {
            return read;
        }
        if (!std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; })) {
            return fail(FaultKind::storage, disk.path() + " does not read as zeros near byte " + std::to_string(offset));
        }
    }
    return {};
}

}  // namespace

Result<std::string> erase_disk_securely(const std::string& path, Log& log)
{
    struct Method {
        const char* name;
        Result<void> (*erase)(const BlockDevice&);
    };
    constexpr Method methods[] = {{"nvme format", format_nvme}, {"ata secure erase", erase_ata}};

    auto disk = BlockDevice::open(path, BlockDevice::Use::exclusive);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    for (const Method& method : methods) {
        const auto erased = method.erase(*disk);
        if (erased) {
            if (auto reread = disk->reread_partition_table(); !reread) {
                return std::unexpected(reread.error());
            }
            return method.name;
        }
        if (erased.error().kind != FaultKind::unsupported) {
            return fail(erased.error(), method.name);
        }
        log.debug("erase.method-unsupported", {{"disk", path}, {"method", method.name}, {"reason", erased.error().message}});
    }
    return fail(FaultKind::unsupported, path + " cannot erase itself");
}

Result<std::string> erase_disk(const std::string& path, Log& log, const std::stop_token& stop, const std::function<void(std::uint64_t)>& progress)
{
    auto by_itself = erase_disk_securely(path, log);
    if (by_itself) {
        return by_itself;
    }
    // A drive that began and failed is overwritten all the same.
    log.info("erase.zeroing", {{"disk", path}, {"reason", by_itself.error().message}});
    auto disk = BlockDevice::open(path, BlockDevice::Use::exclusive);
    if (!disk) {
        return std::unexpected(disk.error());
    }
    auto done = disk->zero(0, disk->size(), stop, progress);
    if (done) {
        done = disk->flush();
    }
    if (done) {
        done = check_zeros(*disk);
    }
    if (done) {
        done = disk->reread_partition_table();
    }
    if (!done) {
        return std::unexpected(done.error());
    }
    return "zeroed";
}

}  // namespace agent
