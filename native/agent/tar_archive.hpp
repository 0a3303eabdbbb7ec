// A tar archive in memory (POSIX.1-1988 ustar), to hand out logs.
#pragma once

#include "bytes.hpp"

#include <string>
#include <string_view>

namespace agent {

class TarArchive {
public:
    // A regular file; the name has at most 99 characters.
    void add(std::string_view name, std::string_view content);
    Bytes finish() &&;

private:
    Bytes bytes_;
};

}  // namespace agent
