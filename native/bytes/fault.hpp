// What went wrong, as a value: a kind that front doors map, a stable code, words for people, and facts in fields.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace ironrack {

enum class FaultKind { malformed, protocol, unreachable, timeout, refused, unsupported, invalid, not_found, conflict, busy, cancelled, storage, internal };

enum class Retry { never, later, now };

struct Fault {
  using Value = std::variant<std::string, std::uint64_t>;

  FaultKind kind = FaultKind::internal;
  std::string code;
  std::string message;
  Retry retry = Retry::never;
  std::vector<std::pair<std::string, Value>> detail;

  Fault&& with(std::string key, Value value) && {
    detail.emplace_back(std::move(key), std::move(value));
    return std::move(*this);
  }
};

template <typename T>
using Result = std::expected<T, Fault>;

/// The kind as src/core/fault.ts spells it.
std::string_view kind_name(FaultKind kind);
std::string_view retry_name(Retry retry);

/// A fault from errno; `what` says which act failed.
Fault system_fault(FaultKind kind, std::string code, std::string_view what, int error);

inline std::unexpected<Fault> fail(FaultKind kind, std::string code, std::string message, Retry retry = Retry::never) {
  return std::unexpected(Fault{kind, std::move(code), std::move(message), retry, {}});
}

}  // namespace ironrack
