#include "bytes/fault.hpp"

#include <system_error>

namespace ironrack {

std::string_view kind_name(FaultKind kind) {
  switch (kind) {
    case FaultKind::malformed: return "malformed";
    case FaultKind::protocol: return "protocol";
    case FaultKind::unreachable: return "unreachable";
    case FaultKind::timeout: return "timeout";
    case FaultKind::refused: return "refused";
    case FaultKind::unsupported: return "unsupported";
    case FaultKind::invalid: return "invalid";
    case FaultKind::not_found: return "not-found";
    case FaultKind::conflict: return "conflict";
    case FaultKind::busy: return "busy";
    case FaultKind::cancelled: return "cancelled";
    case FaultKind::storage: return "storage";
    case FaultKind::internal: return "internal";
  }
  return "internal";
}

std::string_view retry_name(Retry retry) {
  switch (retry) {
    case Retry::never: return "never";
    case Retry::later: return "later";
    case Retry::now: return "now";
  }
  return "never";
}

Fault system_fault(FaultKind kind, std::string code, std::string_view what, int error) {
  Fault fault{kind, std::move(code), std::string(what) + ": " + std::generic_category().message(error), Retry::never, {}};
  fault.detail.emplace_back("errno", static_cast<std::uint64_t>(error));
  return fault;
}

}  // namespace ironrack
