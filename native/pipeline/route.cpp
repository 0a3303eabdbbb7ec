#include "pipeline/route.hpp"

#include <algorithm>
#include <random>

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kFirstBackoffMs = 100;
constexpr std::uint64_t kMostBackoffMs = 2000;
constexpr int kMostRedirects = 4;

std::vector<std::byte> random_bytes(std::size_t count) {
  std::random_device device;
  std::vector<std::byte> bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::byte>(device());
  return bytes;
}

}  // namespace

Route::Route(const TargetRequest& request, iscsi::Isid isid) : request_(request), isid_(isid), address_(request.address), port_(request.port), backoff_ms_(kFirstBackoffMs) {}

Result<std::unique_ptr<iscsi::Link>> Route::open() {
  iscsi::LoginConfig config;
  config.initiator_name = request_.initiator_iqn;
  config.target_name = request_.iqn;
  config.chap = request_.chap;
  config.isid = isid_;
  config.offer.header_digest = request_.header_digest;
  config.offer.data_digest = request_.data_digest;
  if (md5_only_) config.algorithms = {iscsi::ChapAlgorithm::md5};
  if (config.chap && config.chap->target) {
    config.mutual_challenge = random_bytes(32);
    config.mutual_identifier = static_cast<std::uint8_t>(random_bytes(1)[0]);
  }
  return iscsi::Link::open(address_, port_, request_.lun, std::move(config));
}

void Route::arrived() {
  redirects_ = 0;
  refusal_.reset();
}

Fault Route::judge(Fault fault, const iscsi::Link* link) {
  if (link != nullptr && link->redirect() && fault.code == "iscsi.redirected") {
    if (++redirects_ > kMostRedirects) return Fault{FaultKind::protocol, "iscsi.redirect-loop", "the target redirects again and again", Retry::never, {}};
    address_ = link->redirect()->address;
    port_ = link->redirect()->port;
    backoff_ms_ = 0;
    return fault;
  }
  // Where a redirection led is only good for that session (RFC 7143 §11.13.5: "moved temporarily"): the next one asks at the known address again.
  address_ = request_.address;
  port_ = request_.port;
  const bool turned_down = fault.code == "iscsi.authentication-failed" || fault.code == "iscsi.login-initiator-error";
  if (turned_down && link != nullptr && link->used_newer_chap() && !md5_only_) {
    // Older targets (tgtd 1.0.85: 7 is SHA-1) give other meanings to the numbers of the newer CHAP algorithms: only MD5 is the same everywhere.
    md5_only_ = true;
    refusal_ = fault;
    fault.retry = Retry::later;
  } else if (refusal_ && link != nullptr && link->phase() == iscsi::Link::Phase::login && fault.retry != Retry::never) {
    return *refusal_;  // nor does it want MD5
  }
  return fault;
}

std::uint64_t Route::pause_ms() {
  const auto pause = backoff_ms_;
  backoff_ms_ = std::clamp(backoff_ms_ * 2, kFirstBackoffMs, kMostBackoffMs);
  return pause;
}

void Route::progressed() { backoff_ms_ = kFirstBackoffMs; }

}  // namespace ironrack::pipeline
