#include "tar_archive.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <numeric>

namespace agent {

namespace {

constexpr std::size_t block = 512;

// POSIX.1-1988, ustar header block.
struct Header {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char linkname[100];
    char magic[6];
    char version[2];
    char rest[247];
};
static_assert(sizeof(Header) == block);

template <std::size_t size> void put_octal(char (&field)[size], unsigned long long value)
{
    char digits[24];
    std::snprintf(digits, sizeof digits, "%0*llo", static_cast<int>(size - 1), value);
    std::memcpy(field, digits, size);
}

}  // namespace

void TarArchive::add(std::string_view name, std::string_view content)
{
    Header header{};
    std::ranges::copy(name.substr(0, sizeof header.name - 1), header.name);
    put_octal(header.mode, 0644);
    put_octal(header.uid, 0);
    put_octal(header.gid, 0);
    put_octal(header.size, content.size());
    put_octal(header.mtime, static_cast<unsigned long long>(std::max<std::time_t>(0, std::time(nullptr))));
    header.type = '0';
    std::memcpy(header.magic, "ustar", 6);
    std::memcpy(header.version, "00", 2);
    // The sum is made with blanks in its own place.
    std::memset(header.checksum, ' ', sizeof header.checksum);
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&header);
    const unsigned sum = std::accumulate(raw, raw + block, 0U);
    std::snprintf(header.checksum, sizeof header.checksum, "%06o", sum);
    header.checksum[7] = ' ';

    bytes_.insert(bytes_.end(), raw, raw + block);
    bytes_.insert(bytes_.end(), content.begin(), content.end());
    bytes_.resize((bytes_.size() + block - 1) / block * block);
}

Bytes TarArchive::finish() &&
{
    bytes_.resize(bytes_.size() + 2 * block);
    return std::move(bytes_);
}

}  // namespace agent
