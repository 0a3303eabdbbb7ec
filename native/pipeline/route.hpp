// The way to a target: where the next login goes and what it offers, by what became of the last ones.
#pragma once

#include <optional>
#include <string>

#include "iscsi/link.hpp"
#include "pipeline/request.hpp"

namespace ironrack::pipeline {

class Route {
 public:
  Route(const TargetRequest& request, iscsi::Isid isid);

  /// Begins to connect and to log in.
  Result<std::unique_ptr<iscsi::Link>> open();

  /// The full-feature phase is reached.
  void arrived();

  /// The link is lost, or there never was one: what it means for the target; Retry::never when no other way is left.
  Fault judge(Fault fault, const iscsi::Link* link);

  /// How long to wait before the next attempt; longer each time until arrived() or progressed().
  std::uint64_t pause_ms();
  void progressed();

 private:
  const TargetRequest& request_;
  iscsi::Isid isid_;
  std::string address_;
  std::uint16_t port_;
  int redirects_ = 0;
  bool md5_only_ = false;
  std::optional<Fault> refusal_;  // of the login before md5_only_
  std::uint64_t backoff_ms_;
};

}  // namespace ironrack::pipeline
