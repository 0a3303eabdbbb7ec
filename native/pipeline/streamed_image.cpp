#include "pipeline/streamed_image.hpp"

#include <fcntl.h>

#include <cerrno>
#include <random>

namespace ironrack::pipeline {
namespace {

constexpr std::uint64_t kCheckedFirst = 128 << 20;  // image files up to this size are checked before the first byte is written

}  // namespace

Result<void> StreamedImage::open_file(const SourceRequest& request) {
  if (const auto& arriving = request.arriving) {
    file_.fd = UniqueFd(::fcntl(arriving->fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!file_.fd) return std::unexpected(system_fault(FaultKind::internal, "image.open", "the arriving image cannot be opened", errno));
    arrival_ = arriving->arrival;
    // Written to until it is whole: nobody else's earlier work counts for it, nor this for a later one.
    std::random_device random;
    file_.identity = {arrival_->size(), -1, static_cast<std::int64_t>(random())};
    return {};
  }
  auto opened = image::open_file(request.path);
  if (!opened) return std::unexpected(std::move(opened.error()));
  file_ = std::move(*opened);
  return {};
}

Result<void> StreamedImage::open(const SourceRequest& request, const std::stop_token& stop, Wakeup& wakeup) {
  if (auto opened = open_file(request); !opened) return opened;
  const image::ImageFile readable{file_.fd.get(), file_.identity.size, arrival_, stop};
  if (image::is_packed(request.format)) {
    auto image = image::open_packed(readable, request.format);
    if (!image) return std::unexpected(std::move(image.error()));
    packed_ = std::move(*image);
  } else {
    auto image = image::open_source(readable, request.format);
    if (!image) return std::unexpected(std::move(image.error()));
    source_ = std::move(*image);
  }
  if (request.checksum && !arrival_) checksum_ = std::make_unique<FileChecksum>(file_.fd.get(), file_.identity.size, *request.checksum, wakeup);
  return {};
}

bool StreamedImage::may_be_written() const { return !checksum_ || file_.identity.size > kCheckedFirst || (checksum_->over() && !checksum_->fault()); }

bool StreamedImage::is_proven() const { return (!checksum_ || checksum_->over()) && (!arrival_ || arrival_->over()); }

std::optional<Fault> StreamedImage::fault() const {
  if (checksum_ && checksum_->over() && checksum_->fault()) return checksum_->fault();
  return arrival_ ? arrival_->fault() : std::nullopt;
}

Result<void> StreamedImage::unchanged() const {
  if (arrival_) return {};
  const auto identity = image::identify(file_.fd.get());
  if (identity && *identity == file_.identity) return {};
  return fail(FaultKind::conflict, "image.changed", "the image file changed while it was streamed", Retry::later);
}

}  // namespace ironrack::pipeline
