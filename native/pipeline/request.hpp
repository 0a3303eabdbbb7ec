// What a stream job is asked for, and what it answers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bytes/fault.hpp"
#include "image/image_file.hpp"
#include "iscsi/login.hpp"
#include "pipeline/checkpoint.hpp"

namespace ironrack::pipeline {

enum class HolePolicy : std::uint8_t { disk_is_blank, discard, write_zeroes };
enum class Verify : std::uint8_t { none, read_back };

struct Checksum {
  std::string algorithm;  // md5, sha256, sha512
  std::string value;      // lower-case hexadecimal
};

struct SourceRequest {
  std::string path;
  std::string format;  // raw, qcow2
  std::optional<Checksum> checksum;
  /// Instead of the path: streamed while it arrives. Who writes it also checks its sum, and the job ends with that one's word.
  std::shared_ptr<const image::ArrivingFile> arriving;
};

struct TargetRequest {
  std::string address;
  std::uint16_t port = 3260;
  std::string iqn;
  std::uint16_t lun = 0;
  std::string initiator_iqn;
  std::optional<iscsi::ChapCredentials> chap;
  bool header_digest = false;
  bool data_digest = false;
  std::shared_ptr<const Checkpoint> resume;  // of an earlier job with the same image and disk
  bool checkpoints = false;                  // hand out checkpoints: the disk is asked to synchronize now and then
};

struct StreamRequest {
  SourceRequest source;
  std::vector<TargetRequest> targets;
  HolePolicy policy = HolePolicy::write_zeroes;
  Verify verify = Verify::none;
  std::uint64_t command_timeout_ms = 120000;  // for one command of a target that does answer pings
};

inline constexpr std::size_t kMostTargets = 64;  // of one job

/// Refuses what cannot be asked for.
Result<void> check(const TargetRequest& target);
Result<void> check(const StreamRequest& request);

/// Which image this is, and by which policy: an earlier job's work counts only when it is the same in every respect.
std::string image_identity(const StreamRequest& request, const image::FileIdentity& file, std::uint64_t virtual_size);

struct TargetSuccess {
  std::uint64_t bytes = 0;
  std::uint64_t skipped = 0;
  std::uint64_t resumed = 0;  // bytes that were on the disk already, by the checkpoint; the three make the virtual size
  const char* resume_refused = "";  // why the checkpoint was not followed: "image", "disk", "content", "malformed"
  double seconds = 0;
  std::string digest;  // "crc32c:…" over the data extents in order when they were read back, else empty
};

using TargetResult = Result<TargetSuccess>;

struct TargetProgress {
  std::uint64_t written = 0;  // bytes of data that the target acknowledged
  std::uint64_t skipped = 0;  // bytes of zeroes that were left out, unmapped or zeroed by command
  std::uint64_t resumed = 0;
  std::uint64_t verified = 0;
  const char* stage = "";
  std::shared_ptr<const Checkpoint> checkpoint;  // the newest; null before the first
  std::shared_ptr<const TargetResult> end;       // once the target has ended and what it ended with holds
};

struct Progress {
  std::uint64_t source_bytes = 0;
  std::uint64_t virtual_size = 0;
  std::vector<TargetProgress> targets;
};

struct StreamResult {
  std::uint64_t virtual_size = 0;
  std::optional<Checksum> checksum;
  std::vector<TargetResult> targets;
};

using OnProgress = std::function<void(const Progress&)>;

}  // namespace ironrack::pipeline
