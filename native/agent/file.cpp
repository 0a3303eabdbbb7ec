#include "file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

namespace agent {

void Descriptor::close()
{
    if (fd_ >= 0) {
        ::close(std::exchange(fd_, -1));
    }
}

Result<std::string> read_file(const std::string& path, std::size_t limit)
{
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
        return fail_errno("opening " + path);
    }
    std::string text;
    std::array<char, 16384> block;
    while (text.size() < limit) {
        const ssize_t got = ::read(file.get(), block.data(), std::min(block.size(), limit - text.size()));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno("reading " + path);
        }
        if (got == 0) {
            break;
        }
        text.append(block.data(), static_cast<std::size_t>(got));
    }
    return text;
}

std::optional<std::string> read_line_of(const std::string& path)
{
    const auto text = read_file(path, 4096);
    if (!text) {
        return std::nullopt;
    }
    constexpr const char* blanks = " \t\r\n";
    const auto first = text->find_first_not_of(blanks);
    if (first == std::string::npos) {
        return std::nullopt;
    }
    return text->substr(first, text->find_last_not_of(blanks) - first + 1);
}

std::optional<std::uint64_t> read_number_of(const std::string& path)
{
    const auto line = read_line_of(path);
    if (!line) {
        return std::nullopt;
    }
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(line->data(), line->data() + line->size(), number);
    if (error != std::errc() || end != line->data() + line->size()) {
        return std::nullopt;
    }
    return number;
}

Result<void> write_file(const std::string& path, std::string_view text)
{
    // O_CREAT changes nothing on configfs, whose attributes exist already.
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) {
        return fail_errno("opening " + path);
    }
    const ssize_t wrote = ::write(file.get(), text.data(), text.size());
    if (wrote < 0) {
        return fail_errno("writing " + path);
    }
    if (static_cast<std::size_t>(wrote) != text.size()) {
        return fail(FaultKind::storage, "writing " + path + ": only a part was taken");
    }
    return {};
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::vector<std::string> entries_of(const std::string& directory)
{
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), &::closedir);
    if (!open) {
        return names;
    }
    while (const dirent* entry = ::readdir(open.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    std::ranges::sort(names);
    return names;
}

std::string last_part_of_link(const std::string& path)
{
    std::array<char, PATH_MAX> target;
    const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
    if (length <= 0) {
        return "";
    }
    const std::string_view whole(target.data(), static_cast<std::size_t>(length));
    const auto slash = whole.rfind('/');
    return std::string(slash == std::string_view::npos ? whole : whole.substr(slash + 1));
}

}  // namespace agent
