#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "http/curl_library.hpp"
#include "http/download.hpp"
#include "image/source.hpp"
#include "test/check.hpp"

using namespace ironrack;

namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kSize = 1 << 20;

/// A directory that goes with the test.
struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string pattern = std::filesystem::temp_directory_path() / "ironrack-download.XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~Directory() { std::filesystem::remove_all(path); }
};

Bytes pattern(std::size_t size, unsigned salt) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<std::byte>((i * 2654435761u >> 13) + salt + 1);
  return bytes;
}

Bytes content_of(const std::filesystem::path& path) {
  auto file = image::open_file(path);
  CHECK(file);
  Bytes bytes(file ? file->identity.size : 0);
  if (file) CHECK(image::read_at(file->fd.get(), 0, bytes));
  return bytes;
}

std::string sha256(ByteSpan bytes) {
  auto hasher = Hasher::create("sha256");
  hasher->update(bytes);
  return to_hex(hasher->finish());
}

std::shared_ptr<http::Download> open(const Directory& directory, const std::string& value = {}) {
  auto download = http::Download::create(directory.path / "image", value.empty() ? std::nullopt : std::optional(http::Download::Expected{"sha256", value}));
  CHECK(download);
  return *download;
}

}  // namespace

RULE("a download in uneven pieces is the file, byte for byte, with its digest") {
  const Directory directory;
  const auto bytes = pattern(kSize + 12345, 0);
  auto download = open(directory, sha256(bytes));
  CHECK(download->begin(0, bytes.size()));
  std::size_t piece = 1;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto count = std::min(piece = piece * 3 % 70001 + 1, bytes.size() - at);
    CHECK(download->append(ByteSpan(bytes).subspan(at, count)));
    at += count;
    if (count % 5 == 0) CHECK(download->flush());
  }
  const auto digest = download->finish();
  CHECK(digest && *digest == sha256(bytes));
  CHECK(download->arriving()->arrival->over() && !download->arriving()->arrival->fault());
  CHECK(content_of(directory.path / "image") == bytes);
}

RULE("runs of zeroes stay holes in the file") {
  const Directory directory;
  Bytes bytes = pattern(4 << 20, 1);
  std::fill(bytes.begin() + (1 << 20), bytes.begin() + (3 << 20), std::byte{0});
  auto download = open(directory);
  CHECK(download->begin(0, bytes.size()));
  CHECK(download->append(bytes));
  CHECK(download->finish());
  CHECK(content_of(directory.path / "image") == bytes);
  struct stat info {};
  CHECK(::stat((directory.path / "image").c_str(), &info) == 0 && info.st_blocks * 512 <= (2 << 20) + 65536);
}

RULE("what is sent again is compared: the same goes on, another ends those who have read the first") {
  const auto bytes = pattern(kSize, 2);
  for (const bool same : {true, false}) {
    const Directory directory;
    auto again = bytes;
    if (!same) again[1000] ^= std::byte{1};
    auto download = open(directory, sha256(again));
    CHECK(download->begin(0, bytes.size()));
    CHECK(download->append(ByteSpan(bytes).first(600'000)));
    CHECK(download->flush());
    const auto reader = download->arriving();
    CHECK(reader->arrival->mark() == 600'000);
    CHECK(download->begin(0, bytes.size()));
    CHECK(download->append(again));
    CHECK(download->finish());
    CHECK(!download->arriving()->arrival->fault());
    CHECK((download->arriving() == reader) == same);
    CHECK(reader->arrival->fault().has_value() != same);
    if (!same) CHECK(reader->arrival->fault()->code == "image.changed");
    CHECK(content_of(directory.path / "image") == again);
  }
}

RULE("a rest that fits is appended, any other part is refused, and so is more than was announced") {
  const Directory directory;
  const auto bytes = pattern(kSize, 3);
  auto download = open(directory);
  CHECK(download->begin(0, bytes.size()));
  CHECK(download->append(ByteSpan(bytes).first(300'000)));
  CHECK(download->flush());
  CHECK(download->begin(300'000, bytes.size()));
  CHECK(download->append(ByteSpan(bytes).subspan(300'000, 100'000)));
  CHECK(download->flush());
  const auto wrong = download->begin(300'000, bytes.size());
  CHECK(!wrong && wrong.error().code == "image.range");
  CHECK(!download->finish());
  const auto rest = pattern(kSize, 3);
  const auto more = download->append(rest);
  CHECK(!more && more.error().code == "image.long");
}

RULE("a wrong digest is told to those who read meanwhile; an image larger than the disk is refused before a byte of it") {
  const Directory directory;
  const auto bytes = pattern(kSize, 4);
  auto download = open(directory, std::string(64, '0'));
  CHECK(download->begin(0, bytes.size()));
  CHECK(download->append(bytes));
  CHECK(download->finish());
  CHECK(download->arriving()->arrival->fault() && download->arriving()->arrival->fault()->code == "image.checksum");
  const Directory other;
  const auto large = open(other)->begin(0, std::uint64_t{1} << 52);
  CHECK(!large && large.error().code == "image.space");
}

RULE("a raw image that arrives is handed out up to the mark, waits there, and ends when it is told to stop") {
  const Directory directory;
  const auto bytes = pattern(8 << 20, 5);
  auto download = open(directory);
  CHECK(download->begin(0, bytes.size()));
  CHECK(download->append(ByteSpan(bytes).first(2 << 20)));
  const auto arriving = download->arriving();
  std::stop_source stop;
  auto source = image::open_source({arriving->fd.get(), bytes.size(), arriving->arrival, stop.get_token()}, "raw");
  CHECK(source);
  auto first = (*source)->extent_at(0);
  CHECK(first && first->kind == image::ExtentKind::file && first->length == (2 << 20));
  std::thread writer([&] {
    CHECK(download->append(ByteSpan(bytes).subspan(2 << 20)));
    CHECK(download->finish());
  });
  std::uint64_t at = 2 << 20;
  while (at < bytes.size()) {
    const auto extent = (*source)->extent_at(at);
    CHECK(extent && extent->offset == at && extent->kind == image::ExtentKind::file && extent->length > 0);
    if (!extent) break;
    at += extent->length;
  }
  writer.join();
  CHECK(at == bytes.size());

  image::Arrival never(1000);
  std::thread stopper([&] { stop.request_stop(); });
  const auto waited = never.wait_for(1, stop.get_token());
  stopper.join();
  CHECK(!waited && waited.error().kind == FaultKind::cancelled);
}

RULE("libcurl is there and has what is needed") { CHECK(http::CurlLibrary::load()); }

RULE("a download of an earlier process goes on behind what it had brought to the disk, digest and all; what lay behind that is dropped") {
  const Directory directory;
  Bytes bytes = pattern(kSize, 3);
  std::fill(bytes.begin() + (512 << 10), bytes.begin() + (640 << 10), std::byte{0});
  const std::size_t mark = 300'001;
  {
    auto first = open(directory, sha256(bytes));
    CHECK(first->begin(0, bytes.size()));
    CHECK(first->append(ByteSpan(bytes).first(mark)));
    CHECK(first->sync() && first->durable() == mark);
    // What a crash may leave where later a hole belongs.
    const auto rest = pattern(kSize - mark, 9);
    CHECK(first->append(rest) && first->flush() && first->durable() == mark);
  }
  auto second = http::Download::reopen(directory.path / "image", http::Download::Expected{"sha256", sha256(bytes)}, mark, bytes.size());
  CHECK(second && (*second)->received() == mark && (*second)->durable() == mark && (*second)->arriving()->arrival->mark() == mark);
  if (!second) return;
  CHECK((*second)->catch_up([] { return true; }));
  CHECK((*second)->begin(mark, bytes.size()) && (*second)->append(ByteSpan(bytes).subspan(mark)));
  const auto digest = (*second)->finish();
  CHECK(digest && *digest == sha256(bytes) && (*second)->durable() == bytes.size());
  CHECK(content_of(directory.path / "image") == bytes);
}

RULE("reading back what an earlier process had downloaded can be given up") {
  const Directory directory;
  const auto bytes = pattern(kSize, 5);
  {
    auto first = open(directory);
    CHECK(first->begin(0, bytes.size()) && first->append(ByteSpan(bytes).first(500'000)) && first->sync());
  }
  auto second = http::Download::reopen(directory.path / "image", http::Download::Expected{"sha256", sha256(bytes)}, 500'000, bytes.size());
  CHECK(second);
  if (!second) return;
  const auto stopped = (*second)->catch_up([] { return false; });
  CHECK(!stopped && stopped.error().kind == FaultKind::cancelled);
}

RULE("a reopened download whose server sends all of it again compares what is there") {
  const Directory directory;
  const auto bytes = pattern(kSize, 4);
  {
    auto first = open(directory);
    CHECK(first->begin(0, bytes.size()));
    CHECK(first->append(ByteSpan(bytes).first(400'000)) && first->sync());
  }
  auto second = http::Download::reopen(directory.path / "image", http::Download::Expected{"sha256", sha256(bytes)}, 400'000, bytes.size());
  CHECK(second);
  if (!second) return;
  CHECK((*second)->catch_up([] { return true; }));
  CHECK((*second)->begin(0, bytes.size()) && (*second)->append(bytes));
  const auto digest = (*second)->finish();
  CHECK(digest && *digest == sha256(bytes));
  CHECK(content_of(directory.path / "image") == bytes);
}
