// Descriptors with an owner, and small files read and written whole (sysfs, procfs, configfs).
#pragma once

#include "fault.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace agent {

class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept
    {
        close();
        fd_ = std::exchange(other.fd_, -1);
        return *this;
    }
    ~Descriptor() { close(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void close();

private:
    int fd_ = -1;
};

// The first `limit` bytes of a file.
Result<std::string> read_file(const std::string& path, std::size_t limit = 1024 * 1024);

// A one-line file without surrounding white space; nothing if it is missing, unreadable or empty.
std::optional<std::string> read_line_of(const std::string& path);
std::optional<std::uint64_t> read_number_of(const std::string& path);

// Replaces what the file holds in one write(2), as sysfs and configfs attributes want it.
Result<void> write_file(const std::string& path, std::string_view text);

bool file_exists(const std::string& path);
std::vector<std::string> entries_of(const std::string& directory);  // sorted names, empty if there is no such directory
std::string last_part_of_link(const std::string& path);             // "virtio_blk" for …/driver; "" if not a link

}  // namespace agent
