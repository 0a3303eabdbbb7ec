// image2iscsi: streams a disk image onto iSCSI disks from the shell.
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>

#include "iscsi/discovery.hpp"
#include "pipeline/stream_job.hpp"
#include "tool/checkpoint_file.hpp"
#include "tool/json.hpp"

namespace {

using namespace ironrack;
using namespace ironrack::pipeline;

constexpr const char* kUsage = R"(usage: image2iscsi [options] IMAGE TARGET...
       image2iscsi [options] discover ADDRESS[:PORT]

Streams IMAGE onto one or more iSCSI disks.
discover lists the targets behind a portal, one a line: name and addresses.
TARGET is iscsi://ADDRESS[:PORT]/IQN[/LUN]; addresses are numeric, IPv6 in brackets.

  --format FORMAT        what the image is: raw (default), qcow2, or gzip, zstd, xz or bzip2 of raw; content that is something else is refused
  --policy POLICY        of the image's holes: disk-is-blank, discard, write-zeroes (default: write-zeroes)
  --verify none|read-back
  --checksum ALG:HEX     md5, sha256 or sha512 of the image file
  --initiator IQN        our name (default: iqn.2026-01.org.ironrack:image2iscsi)
  --chap-user NAME       user for CHAP; the secret comes from IRONRACK_CHAP_SECRET or --chap-secret-file
  --chap-secret-file F   first line of F
  --mutual-user NAME     the target must prove that it is NAME; secret from IRONRACK_MUTUAL_SECRET
  --header-digest, --data-digest   CRC32C
  --checkpoint FILE      note in FILE what is safe on the disks, and go on from there when the run is repeated
  --command-timeout S    after which a command is aborted (default: 120)
  --json                 one JSON object at the end, on stdout
  --quiet                no progress
  --help

exit status: 0 all targets written, 1 a target failed, 2 the image or the call is at fault, 130 interrupted
)";

StreamJob* running_job = nullptr;

extern "C" void on_signal(int) {
  if (running_job != nullptr) running_job->cancel();
}

std::optional<TargetRequest> parse_target(std::string_view text) {
  constexpr std::string_view kScheme = "iscsi://";
  if (!text.starts_with(kScheme)) return std::nullopt;
  text.remove_prefix(kScheme.size());
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto address = iscsi::parse_target_address(text.substr(0, slash));
  if (!address) return std::nullopt;
  text.remove_prefix(slash + 1);
  TargetRequest target;
  target.address = address->address;
  target.port = address->port;
  const auto lun = text.find('/');
  target.iqn = text.substr(0, lun);
  if (lun != std::string_view::npos) {
    char* end = nullptr;
    const std::string digits(text.substr(lun + 1));
    target.lun = static_cast<std::uint16_t>(std::strtoul(digits.c_str(), &end, 10));
    if (digits.empty() || *end != 0) return std::nullopt;
  }
  return target;
}

int discover(const std::string& portal, const TargetRequest& common) {
  const auto address = iscsi::parse_target_address(portal);
  if (!address) {
    std::fprintf(stderr, "image2iscsi: %s is not ADDRESS[:PORT]\n", portal.c_str());
    return 2;
  }
  const auto targets = iscsi::discover({.address = address->address, .port = address->port, .initiator_iqn = common.initiator_iqn, .chap = common.chap});
  if (!targets) {
    std::fprintf(stderr, "image2iscsi: %s (%s)\n", targets.error().message.c_str(), targets.error().code.c_str());
    return 1;
  }
  for (const auto& [name, portals] : *targets) {
    std::string line = name;
    for (const auto& each : portals) line += " " + (each.address.find(':') == std::string::npos ? each.address : "[" + each.address + "]") + ":" + std::to_string(each.port);
    std::puts(line.c_str());
  }
  return 0;
}

int usage_fault(const std::string& message) {
  std::fprintf(stderr, "image2iscsi: %s\n(image2iscsi --help says how)\n", message.c_str());
  return 2;
}

void show(const Progress& progress, std::chrono::steady_clock::time_point begun) {
  std::uint64_t least = UINT64_MAX;
  std::uint64_t written = 0;
  for (const auto& target : progress.targets) {
    least = std::min(least, target.written + target.skipped);
    written += target.written;
  }
  const double share = progress.virtual_size == 0 ? 0 : static_cast<double>(least) / static_cast<double>(progress.virtual_size);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  constexpr int kWidth = 40;
  const int full = static_cast<int>(share * kWidth);
  std::fprintf(stderr, "\r[%s%s] %5.1f %%  %8.1f MB written  %7.1f MB/s  %s\x1b[K", std::string(static_cast<std::size_t>(full), '#').c_str(),
               std::string(static_cast<std::size_t>(kWidth - full), ' ').c_str(), share * 100, static_cast<double>(written) / 1e6, static_cast<double>(written) / 1e6 / std::max(seconds, 0.001),
               progress.targets.empty() ? "" : progress.targets.front().stage);
}

}  // namespace

int main(int argc, char** argv) {
  enum Option : int { kFormat = 256, kPolicy, kVerify, kChecksum, kInitiator, kChapUser, kChapSecretFile, kMutualUser, kHeaderDigest, kDataDigest, kCheckpoint, kCommandTimeout, kJson, kQuiet, kHelp };
  const option options[] = {
      {"format", required_argument, nullptr, kFormat},
      {"policy", required_argument, nullptr, kPolicy},
      {"verify", required_argument, nullptr, kVerify},
      {"checksum", required_argument, nullptr, kChecksum},
      {"initiator", required_argument, nullptr, kInitiator},
      {"chap-user", required_argument, nullptr, kChapUser},
      {"chap-secret-file", required_argument, nullptr, kChapSecretFile},
      {"mutual-user", required_argument, nullptr, kMutualUser},
      {"header-digest", no_argument, nullptr, kHeaderDigest},
      {"data-digest", no_argument, nullptr, kDataDigest},
      {"checkpoint", required_argument, nullptr, kCheckpoint},
      {"command-timeout", required_argument, nullptr, kCommandTimeout},
      {"json", no_argument, nullptr, kJson},
      {"quiet", no_argument, nullptr, kQuiet},
      {"help", no_argument, nullptr, kHelp},
      {nullptr, 0, nullptr, 0},
  };
  StreamRequest request;
  request.source.format = "raw";
  TargetRequest common;
  common.initiator_iqn = "iqn.2026-01.org.ironrack:image2iscsi";
  std::string chap_user;
  std::string chap_secret = std::getenv("IRONRACK_CHAP_SECRET") != nullptr ? std::getenv("IRONRACK_CHAP_SECRET") : "";
  std::string mutual_user;
  std::string checkpoint_file;
  bool json = false;
  bool quiet = false;
  for (int which; (which = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    const std::string value = optarg != nullptr ? optarg : "";
    switch (which) {
      case kFormat: request.source.format = value; break;
      case kPolicy:
        if (value == "disk-is-blank") request.policy = HolePolicy::disk_is_blank;
        else if (value == "discard") request.policy = HolePolicy::discard;
        else if (value == "write-zeroes") request.policy = HolePolicy::write_zeroes;
        else return usage_fault("there is no policy " + value);
        break;
      case kVerify:
        if (value == "read-back") request.verify = Verify::read_back;
        else if (value != "none") return usage_fault("--verify is none or read-back");
        break;
      case kChecksum: {
        const auto colon = value.find(':');
        if (colon == std::string::npos) return usage_fault("--checksum is ALGORITHM:HEX");
        request.source.checksum = Checksum{value.substr(0, colon), value.substr(colon + 1)};
        break;
      }
      case kInitiator: common.initiator_iqn = value; break;
      case kChapUser: chap_user = value; break;
      case kChapSecretFile: {
        std::ifstream file(value);
        if (!std::getline(file, chap_secret)) return usage_fault("no secret in " + value);
        break;
      }
      case kMutualUser: mutual_user = value; break;
      case kHeaderDigest: common.header_digest = true; break;
      case kDataDigest: common.data_digest = true; break;
      case kCheckpoint: checkpoint_file = value; break;
      case kCommandTimeout:
        request.command_timeout_ms = std::strtoull(value.c_str(), nullptr, 10) * 1000;
        if (request.command_timeout_ms == 0) return usage_fault("--command-timeout is a number of seconds");
        break;
      case kJson: json = true; break;
      case kQuiet: quiet = true; break;
      case kHelp: std::fputs(kUsage, stdout); return 0;
      default: return 2;
    }
  }
  if (argc - optind < 2) return usage_fault("an image and a target are needed");
  if (!chap_user.empty()) {
    if (chap_secret.empty()) return usage_fault("--chap-user needs a secret");
    common.chap = iscsi::ChapCredentials{{chap_user, chap_secret}, std::nullopt};
    if (!mutual_user.empty()) {
      const char* secret = std::getenv("IRONRACK_MUTUAL_SECRET");
      if (secret == nullptr) return usage_fault("--mutual-user needs IRONRACK_MUTUAL_SECRET");
      common.chap->target = iscsi::ChapPeer{mutual_user, secret};
    }
  }
  if (std::string_view(argv[optind]) == "discover" && argc - optind == 2) return discover(argv[optind + 1], common);
  request.source.path = argv[optind];
  for (int i = optind + 1; i < argc; i++) {
    const auto parsed = parse_target(argv[i]);
    if (!parsed) return usage_fault(std::string(argv[i]) + " is not iscsi://ADDRESS[:PORT]/IQN[/LUN]");
    auto target = common;
    target.address = parsed->address;
    target.port = parsed->port;
    target.iqn = parsed->iqn;
    target.lun = parsed->lun;
    request.targets.push_back(std::move(target));
  }

  if (!checkpoint_file.empty()) {
    const auto earlier = tool::read_checkpoints(checkpoint_file);
    for (std::size_t i = 0; i < request.targets.size(); i++) {
      request.targets[i].checkpoints = true;
      // Of a run with other targets; what then does not fit the disk is noticed.
      if (i < earlier.size() && earlier[i] && !earlier[i]->image.empty()) request.targets[i].resume = earlier[i];
    }
  }
  tool::Checkpoints checkpoints(request.targets.size());
  const auto note_checkpoints = [&](const Progress& progress) {
    bool any = false;
    for (std::size_t i = 0; i < progress.targets.size(); i++) {
      const auto& newest = progress.targets[i].checkpoint;
      any = any || (newest && newest != checkpoints[i]);
      if (newest) checkpoints[i] = newest;
    }
    if (any) tool::write_checkpoints(checkpoint_file, checkpoints);
  };

  StreamJob job(std::move(request));
  running_job = &job;
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  const auto begun = std::chrono::steady_clock::now();
  const bool bar = !quiet && ::isatty(STDERR_FILENO) != 0;
  const auto result = job.run([&](const Progress& progress) {
    if (bar) show(progress, begun);
    if (!checkpoint_file.empty()) note_checkpoints(progress);
  });
  running_job = nullptr;
  if (bar) std::fputs("\n", stderr);

  if (json) std::fputs((tool::to_json(result) + "\n").c_str(), stdout);
  if (!result) {
    std::fprintf(stderr, "image2iscsi: %s (%s)\n", result.error().message.c_str(), result.error().code.c_str());
    return result.error().kind == FaultKind::cancelled ? 130 : 2;
  }
  int status = 0;
  for (std::size_t i = 0; i < result->targets.size(); i++) {
    const auto& target = result->targets[i];
    if (!target) {
      status = 1;
      std::fprintf(stderr, "image2iscsi: target %zu: %s (%s)\n", i, target.error().message.c_str(), target.error().code.c_str());
    } else if (!json && !quiet) {
      std::fprintf(stdout, "target %zu: %.1f MB written, %.1f MB skipped, %.2f s, %.1f MB/s%s%s\n", i, static_cast<double>(target->bytes) / 1e6, static_cast<double>(target->skipped) / 1e6, target->seconds,
                   static_cast<double>(target->bytes) / 1e6 / std::max(target->seconds, 0.001), target->digest.empty() ? "" : ", read back ", target->digest.c_str());
    }
  }
  return status;
}
