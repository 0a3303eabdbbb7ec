#include "tool/json.hpp"

#include <cstdio>

namespace ironrack::tool {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string fault(const Fault& fault) {
  std::string out = "{\"kind\":" + quoted(kind_name(fault.kind)) + ",\"code\":" + quoted(fault.code) + ",\"message\":" + quoted(fault.message) + ",\"retry\":" + quoted(retry_name(fault.retry)) + ",\"detail\":{";
  bool first = true;
  for (const auto& [key, value] : fault.detail) {
    out += (first ? "" : ",") + quoted(key) + ":" + (std::holds_alternative<std::string>(value) ? quoted(std::get<std::string>(value)) : std::to_string(std::get<std::uint64_t>(value)));
    first = false;
  }
  return out + "}}";
}

std::string target(const pipeline::TargetResult& target) {
  if (!target) return "{\"ok\":false,\"fault\":" + fault(target.error()) + "}";
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.3f", target->seconds);
  return "{\"ok\":true,\"bytes\":" + std::to_string(target->bytes) + ",\"skipped\":" + std::to_string(target->skipped) + ",\"resumed\":" + std::to_string(target->resumed) + ",\"resume_refused\":" + quoted(target->resume_refused) + ",\"seconds\":" + seconds + ",\"digest\":" + quoted(target->digest) + "}";
}

}  // namespace

std::string to_json(const Result<pipeline::StreamResult>& result) {
  if (!result) return "{\"ok\":false,\"fault\":" + fault(result.error()) + "}";
  bool ok = true;
  std::string targets;
  for (const auto& each : result->targets) {
    ok = ok && each.has_value();
    targets += (targets.empty() ? "" : ",") + target(each);
  }
  std::string out = std::string("{\"ok\":") + (ok ? "true" : "false") + ",\"virtual_size\":" + std::to_string(result->virtual_size) + ",\"checksum\":";
  out += result->checksum ? "{\"algorithm\":" + quoted(result->checksum->algorithm) + ",\"value\":" + quoted(result->checksum->value) + "}" : std::string("null");
  return out + ",\"targets\":[" + targets + "]}";
}

}  // namespace ironrack::tool
