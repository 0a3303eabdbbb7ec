#include "pipeline/disk_probe.hpp"

#include <algorithm>

#include "pipeline/block.hpp"

namespace ironrack::pipeline {
namespace {

constexpr std::uint16_t kPageBytes = 252;  // one-byte allocation lengths are what old devices know
constexpr std::uint8_t kSerialPage = 0x80;
constexpr std::uint8_t kBlockLimitsPage = 0xb0;
constexpr std::uint8_t kProvisioningPage = 0xb2;

}  // namespace

Fault disk_too_small(std::uint64_t disk_bytes, std::uint64_t image_bytes) {
  return Fault{FaultKind::invalid, "disk.too-small", "the disk is smaller than the image", Retry::never, {}}.with("disk_bytes", disk_bytes).with("image_bytes", image_bytes);
}

DiskProbe::Question DiskProbe::question() const {
  switch (step_) {
    case Step::test_unit_ready: return {iscsi::test_unit_ready(), 0};
    case Step::inquiry: return {iscsi::inquiry(kPageBytes), kPageBytes};
    case Step::pages: return {iscsi::inquiry_page(0x00, kPageBytes), kPageBytes};
    case Step::serial: return {iscsi::inquiry_page(kSerialPage, kPageBytes), kPageBytes};
    case Step::limits: return {iscsi::inquiry_page(kBlockLimitsPage, kPageBytes), kPageBytes};
    case Step::provisioning: return {iscsi::inquiry_page(kProvisioningPage, kPageBytes), kPageBytes};
    case Step::capacity_16: return {iscsi::read_capacity_16(32), 32};
    case Step::capacity_10: return {iscsi::read_capacity_10(), 8};
    case Step::mode_sense: return {iscsi::mode_sense_6(kPageBytes), kPageBytes};
    case Step::over: break;
  }
  return {};
}

Result<void> DiskProbe::answer(bool good, ByteSpan data, const Fault& refusal) {
  switch (step_) {
    case Step::test_unit_ready:
      if (!good) return std::unexpected(refusal);
      step_ = Step::inquiry;
      return {};
    case Step::inquiry: {
      if (!good) return std::unexpected(refusal);
      const auto inquiry = iscsi::decode_inquiry(data);
      if (!inquiry) return std::unexpected(inquiry.error());
      if (inquiry->qualifier != 0 || inquiry->device_type != 0) {
        return std::unexpected(Fault{FaultKind::not_found, "scsi.not-a-disk", "there is no disk at that LUN", Retry::never, {}}.with("device_type", std::uint64_t{inquiry->device_type}));
      }
      disk_.name = inquiry->vendor + " " + inquiry->product;
      step_ = Step::pages;
      return {};
    }
    case Step::pages:
      if (good) {
        const auto pages = iscsi::decode_supported_pages(data);
        has_serial_ = std::ranges::find(pages, kSerialPage) != pages.end();
        has_limits_ = std::ranges::find(pages, kBlockLimitsPage) != pages.end();
        has_provisioning_ = std::ranges::find(pages, kProvisioningPage) != pages.end();
      }
      step_ = has_serial_ ? Step::serial : after_serial();
      return {};
    case Step::serial:
      if (good) disk_.name += " " + iscsi::decode_serial(data);
      step_ = after_serial();
      return {};
    case Step::limits:
      if (good) {
        const auto limits = iscsi::decode_block_limits(data);
        if (!limits) return std::unexpected(limits.error());
        disk_.limits = *limits;
      }
      step_ = has_provisioning_ ? Step::provisioning : Step::capacity_16;
      return {};
    case Step::provisioning:
      if (good) {
        const auto provisioning = iscsi::decode_provisioning(data);
        if (!provisioning) return std::unexpected(provisioning.error());
        disk_.provisioning = *provisioning;
      }
      step_ = Step::capacity_16;
      return {};
    case Step::capacity_16:
    case Step::capacity_10: {
      if (!good && step_ == Step::capacity_16) {
        step_ = Step::capacity_10;
        return {};
      }
      if (!good) return std::unexpected(refusal);
      const auto capacity = step_ == Step::capacity_16 ? iscsi::decode_capacity_16(data) : iscsi::decode_capacity_10(data);
      if (!capacity) return std::unexpected(capacity.error());
      if (capacity->block_size > kAlignment) {
        return std::unexpected(Fault{FaultKind::unsupported, "scsi.block-size", "the disk's blocks are larger than 4096 bytes", Retry::never, {}}.with("block_size", std::uint64_t{capacity->block_size}));
      }
      disk_.capacity = *capacity;
      step_ = Step::mode_sense;
      return {};
    }
    case Step::mode_sense:
      if (good && iscsi::decode_write_protect(data)) return fail(FaultKind::refused, "scsi.write-protected", "the disk is write-protected");
      step_ = Step::over;
      return {};
    case Step::over: break;
  }
  return {};
}

}  // namespace ironrack::pipeline
