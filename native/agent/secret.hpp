// A token or password: compared and sent where its use says so, printed nowhere.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace agent {

class Secret {
public:
    Secret() = default;
    explicit Secret(std::string value) : value_(std::move(value)) {}

    bool empty() const { return value_.empty(); }
    const std::string& reveal() const { return value_; }

    // Takes the same time wherever the two differ.
    bool equals(std::string_view other) const
    {
        unsigned char difference = value_.size() == other.size() ? 0 : 1;
        for (std::size_t i = 0; i < other.size(); ++i) {
            difference |= static_cast<unsigned char>(other[i] ^ (value_.empty() ? 0x55 : value_[i % value_.size()]));
        }
        return difference == 0 && !value_.empty();
    }

private:
    std::string value_;
};

}  // namespace agent
