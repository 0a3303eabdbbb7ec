// Why an operation did not happen: a value with a kind that callers may act on, never a text to be searched.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace agent {

enum class FaultKind {
    malformed,    // bytes or text that break their format
    invalid,      // a request that is well formed and asks for what cannot be
    not_found,
    busy,
    refused,      // the peer said no
    unreachable,  // no answer
    unsupported,
    cancelled,
    version_mismatch,  // the steps were listed by another agent than this one
    storage,      // a disk or a file failed
    internal,
};

struct Fault {
    FaultKind kind;
    std::string message;
};

template <class T> using Result = std::expected<T, Fault>;

inline std::unexpected<Fault> fail(FaultKind kind, std::string message)
{
    return std::unexpected<Fault>(Fault{kind, std::move(message)});
}

// The same fault, with what was being done in front: "reading /dev/sda: Input/output error".
inline std::unexpected<Fault> fail(const Fault& fault, const std::string& doing)
{
    return std::unexpected<Fault>(Fault{fault.kind, doing + ": " + fault.message});
}

const char* name_of(FaultKind kind);

// A fault of kind `storage` from errno, as "DOING: Input/output error".
std::unexpected<Fault> fail_errno(const std::string& doing);
std::unexpected<Fault> fail_errno(const std::string& doing, int error);

}  // namespace agent
