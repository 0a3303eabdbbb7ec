#include "image/unpacker.hpp"

#include <algorithm>

namespace ironrack::image {
namespace {

constexpr std::size_t kReadBytes = 262144;

}  // namespace

Result<ByteSpan> FileInput::peek() {
  if (begin_ == end_ && left_ > 0) {
    buffer_.resize(kReadBytes);
    const auto room = std::span(buffer_).first(static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffer_.size())));
    if (auto read = file_.read_at(offset_, room); !read) return std::unexpected(std::move(read.error()));
    offset_ += room.size();
    left_ -= room.size();
    begin_ = 0;
    end_ = room.size();
  }
  return ByteSpan(buffer_).subspan(begin_, end_ - begin_);
}

Fault truncated_stream(std::string_view format, std::uint64_t file_offset) {
  return Fault{FaultKind::malformed, "image.truncated", "the " + std::string(format) + " stream of the image ends too early", Retry::never, {}}.with("file_offset", file_offset);
}

Fault corrupt_stream(std::string_view format, std::uint64_t file_offset, std::string_view what) {
  return Fault{FaultKind::malformed, "image.corrupt", "the " + std::string(format) + " stream of the image is corrupt: " + std::string(what), Retry::never, {}}.with("file_offset", file_offset);
}

Fault trailing_garbage(std::string_view format, std::uint64_t file_offset) {
  return Fault{FaultKind::malformed, "image.trailing-garbage", "there is something behind the " + std::string(format) + " stream of the image", Retry::never, {}}.with("file_offset", file_offset);
}

}  // namespace ironrack::image
