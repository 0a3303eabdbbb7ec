#include "fault.hpp"

#include <cerrno>
#include <cstring>

namespace agent {

const char* name_of(FaultKind kind)
{
    switch (kind) {
    case FaultKind::malformed: return "malformed";
    case FaultKind::invalid: return "invalid";
    case FaultKind::not_found: return "not-found";
    case FaultKind::busy: return "busy";
    case FaultKind::refused: return "refused";
    case FaultKind::unreachable: return "unreachable";
    case FaultKind::unsupported: return "unsupported";
    case FaultKind::cancelled: return "cancelled";
    case FaultKind::version_mismatch: return "version-mismatch";
    case FaultKind::storage: return "storage";
    case FaultKind::internal: return "internal";
    }
    return "internal";
}

std::unexpected<Fault> fail_errno(const std::string& doing) { return fail_errno(doing, errno); }

std::unexpected<Fault> fail_errno(const std::string& doing, int error)
{
    const FaultKind kind = error == ENOENT ? FaultKind::not_found : error == EBUSY ? FaultKind::busy : FaultKind::storage;
    char text[128];
    return fail(kind, doing + ": " + ::strerror_r(error, text, sizeof text));
}

}  // namespace agent
