#include "pipeline/request.hpp"

namespace ironrack::pipeline {

Result<void> check(const TargetRequest& target) {
  if (target.iqn.empty() || target.initiator_iqn.empty()) return fail(FaultKind::invalid, "stream.no-name", "target and initiator need names");
  if (target.lun > 16383) return fail(FaultKind::invalid, "stream.lun", "a LUN is at most 16383");
  return {};
}

Result<void> check(const StreamRequest& request) {
  if (request.targets.empty()) return fail(FaultKind::invalid, "stream.no-target", "a stream needs a target");
  if (request.targets.size() > kMostTargets) return fail(FaultKind::invalid, "stream.too-many-targets", "a stream goes to at most 64 targets");
  for (const auto& target : request.targets) {
    if (auto checked = check(target); !checked) return checked;
  }
  if (const auto& checksum = request.source.checksum) {
    const auto& [algorithm, value] = *checksum;
    const std::size_t digits = algorithm == "md5" ? 32 : algorithm == "sha256" ? 64 : algorithm == "sha512" ? 128 : 0;
    if (digits == 0) return fail(FaultKind::unsupported, "digest.unknown", "images cannot be checked with " + algorithm);
    if (value.size() != digits || value.find_first_not_of("0123456789abcdef") != std::string::npos) {
      return fail(FaultKind::invalid, "stream.checksum", "the checksum is not a lower-case hexadecimal " + algorithm);
    }
  }
  return {};
}

std::string image_identity(const StreamRequest& request, const image::FileIdentity& file, std::uint64_t virtual_size) {
  constexpr const char* kPolicies[] = {"disk-is-blank", "discard", "write-zeroes"};
  return request.source.format + " " + std::to_string(virtual_size) + " in " + std::to_string(file.size) + " of " + std::to_string(file.modified_s) + "." + std::to_string(file.modified_ns) + " " +
         kPolicies[static_cast<int>(request.policy)] + (request.source.checksum ? " " + request.source.checksum->algorithm + ":" + request.source.checksum->value : "");
}

}  // namespace ironrack::pipeline
