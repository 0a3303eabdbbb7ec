#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <string>

#include "pipeline/pipe_signal_guard.hpp"
#include "serve/file_sender.hpp"
#include "serve/tftp_packet.hpp"
#include "serve/tftp_sender.hpp"
#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::serve;

namespace {

/// Waits for the outcomes of a sender.
template <typename Sender>
class Outcomes {
 public:
  Outcomes() : sender_([this] {
    const std::lock_guard lock(mutex_);
    news_ = true;
    changed_.notify_all();
  }) {}

  Sender& operator*() { return sender_; }
  Sender* operator->() { return &sender_; }

  typename Sender::Outcome next() {
    for (;;) {
      for (auto& each : sender_.take_outcomes()) taken_.push_back(std::move(each));
      if (!taken_.empty()) {
        auto first = std::move(taken_.front());
        taken_.erase(taken_.begin());
        return first;
      }
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return news_; });
      news_ = false;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool news_ = false;
  std::vector<typename Sender::Outcome> taken_;
  Sender sender_;
};

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& contents) {
    char name[] = "/tmp/ironrack-serve-XXXXXX";
    UniqueFd fd(::mkstemp(name));
    path_ = name;
    std::ofstream(path_) << contents;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  [[nodiscard]] UniqueFd open() const { return UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)); }
  void shorten(std::uint64_t size) const { std::filesystem::resize_file(path_, size); }

 private:
  std::string path_;
};

std::string pattern(std::size_t size) {
  std::string out(size, 0);
  for (std::size_t i = 0; i < size; i++) out[i] = static_cast<char>(i * 31 + (i >> 9));
  return out;
}

/// One client of TFTP on loopback.
class Reader {
 public:
  Reader() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_);
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address_), &size);
  }

  TftpRequest request(std::uint32_t id, TftpTerms terms) const {
    TftpRequest out;
    out.id = id;
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    out.local = local;
    out.peer = address_;
    out.terms = terms;
    return out;
  }

  /// The next packet; its sender is answered from now on.
  std::string next() {
    char bytes[2048];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const auto length = ::recvfrom(socket_.get(), bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&from), &size);
    server_ = from;
    return length < 0 ? std::string() : std::string(bytes, static_cast<std::size_t>(length));
  }

  void ack(std::uint64_t block) {
    const unsigned char bytes[4] = {0, 4, static_cast<unsigned char>(block >> 8), static_cast<unsigned char>(block)};
    ::sendto(socket_.get(), bytes, sizeof bytes, 0, reinterpret_cast<const sockaddr*>(&server_), sizeof server_);
  }

  /// Reads to the end, or to the ERROR, whose text it gives in `error`.
  std::string read(std::uint32_t blksize, std::uint32_t windowsize, std::string& error) {
    std::string out;
    for (std::uint64_t block = 1;; block++) {
      const auto packet = next();
      if (packet[1] == 5) {
        error = packet.substr(4, packet.size() - 5);
        return out;
      }
      out += packet.substr(4);
      const bool last = packet.size() < blksize + 4;
      if (last || block % windowsize == 0) ack(block);
      if (last) return out;
    }
  }

  void close() { socket_.reset(); }

 private:
  UniqueFd socket_;
  sockaddr_in address_{};
  sockaddr_in server_{};
};

struct Pair {
  Pair() {
    int fds[2];
    ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
    ours = UniqueFd(fds[0]);
    peer = UniqueFd(fds[1]);
  }
  std::string read(std::size_t size) {
    std::string out;
    std::vector<char> bytes(65536);
    while (out.size() < size) {
      pollfd ready{peer.get(), POLLIN, 0};
      ::poll(&ready, 1, -1);
      const auto got = ::read(peer.get(), bytes.data(), bytes.size());
      if (got <= 0) break;
      out.append(bytes.data(), static_cast<std::size_t>(got));
    }
    return out;
  }
  UniqueFd ours, peer;
};

FileRequest part(std::uint32_t id, const Pair& pair, const UniqueFd& file, std::uint64_t offset, std::uint64_t length) {
  return {id, pair.ours.get(), file.get(), {offset, length}, std::chrono::hours(1)};
}

/// Two ends of a TCP connection.
struct TcpPair : Pair {
  TcpPair() {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener.get(), 1);
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
    peer = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), size);
    ours = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }
};

}  // namespace

RULE("a TFTP transfer brings a file or bytes whole, in windows of every size, cut by the kernel or sent one by one") {
  const auto contents = pattern(300'001);
  const TemporaryFile file(contents);
  Outcomes<TftpSender> sender;
  std::uint32_t id = 0;
  for (const std::uint32_t windowsize : {1, 7, 64}) {
    for (const std::uint32_t blksize : {512, 1468}) {
      for (const bool mapped : {true, false}) {
        Reader reader;
        auto request = reader.request(++id, {blksize, windowsize, std::nullopt, false});
        request.size = contents.size();
        if (mapped) request.file = file.open();
        else request.bytes.assign(reinterpret_cast<const std::byte*>(contents.data()), reinterpret_cast<const std::byte*>(contents.data() + contents.size()));
        sender->start(std::move(request));
        std::string error;
        CHECK(reader.read(blksize, windowsize, error) == contents);
        const auto outcome = sender.next();
        CHECK(outcome.id == id && outcome.result && outcome.result->end == TftpEnd::complete);
      }
    }
  }
}

RULE("an OACK goes out whole whatever the block size, and data follows its ACK") {
  Outcomes<TftpSender> sender;
  Reader reader;
  auto request = reader.request(1, {8, 4, std::nullopt, true});
  const std::string offer("\0\6blksize\0008\0windowsize\0004\0", 24);
  request.offer.assign(reinterpret_cast<const std::byte*>(offer.data()), reinterpret_cast<const std::byte*>(offer.data() + offer.size()));
  request.bytes.resize(20);
  request.size = 20;
  sender->start(std::move(request));
  CHECK(reader.next() == offer);
  reader.ack(0);
  std::string error;
  CHECK(reader.read(8, 4, error) == std::string(20, 0));
  CHECK(sender.next().result->end == TftpEnd::complete);
}

RULE("a file that becomes shorter ends its transfer with an ERROR, and never as complete") {
  for (const std::uint64_t left : {0u, 5000u, 9999u}) {
    const TemporaryFile file(pattern(10'000));
    Outcomes<TftpSender> sender;
    Reader reader;
    auto request = reader.request(1, {512, 1, std::nullopt, false});
    request.size = 10'000;
    request.file = file.open();
    sender->start(std::move(request));
    CHECK(reader.next().size() == 516);
    file.shorten(left);
    reader.ack(1);
    std::string error;
    reader.read(512, 1, error);
    CHECK(error == "the file cannot be read");
    const auto outcome = sender.next();
    CHECK(!outcome.result && outcome.result.error().code == "file.shrunk");
  }
}

RULE("requests that nobody answers put out each other, the oldest first, and not a transfer that was answered") {
  Outcomes<TftpSender> sender;
  Reader silent, reader;
  const auto begin = [&](std::uint32_t id, const Reader& from) {
    auto request = from.request(id, {512, 1, std::nullopt, false});
    request.bytes.resize(3000);
    request.size = 3000;
    sender->start(std::move(request));
  };
  begin(1, reader);
  CHECK(reader.next().size() == 516);
  reader.ack(1);
  CHECK(reader.next()[3] == 2);
  for (std::uint32_t id = 2; id < 202; id++) begin(id, silent);
  for (std::uint32_t id = 2; id < 74; id++) {
    const auto outcome = sender.next();
    CHECK(outcome.id == id && outcome.result->end == TftpEnd::lost && outcome.result->message == "no answer, and others ask");
  }
  for (std::uint64_t block = 2; block <= 6; block++) {
    reader.ack(block);
    if (block < 6) reader.next();
  }
  const auto outcome = sender.next();
  CHECK(outcome.id == 1 && outcome.result->end == TftpEnd::complete);
}

RULE("a closed port, a cancel and the sender's end each end a transfer once") {
  Outcomes<TftpSender> sender;
  Reader gone;
  auto request = gone.request(1, {512, 1, std::nullopt, false});
  gone.close();
  request.bytes.resize(3000);
  request.size = 3000;
  sender->start(std::move(request));
  // The first block meets the closed port; its repetition a second later is told so.
  CHECK(sender.next().result->end == TftpEnd::lost);
  Reader cancelled, last;
  for (auto* reader : {&cancelled, &last}) {
    auto one = reader->request(reader == &last ? 3 : 2, {512, 1, std::nullopt, false});
    one.bytes.resize(3000);
    one.size = 3000;
    sender->start(std::move(one));
    reader->next();
  }
  sender->cancel(2);
  CHECK(sender.next().id == 2 && cancelled.next()[1] == 5);
  sender->finish();
  CHECK(sender.next().id == 3 && last.next()[1] == 5);
  sender->finish();
}

RULE("parts of files arrive whole over many sockets at once, also to a reader that is slow") {
  const auto contents = pattern(3'000'000);
  const TemporaryFile file(contents);
  const auto opened = file.open();
  Outcomes<FileSender> sender;
  std::vector<Pair> pairs(8);
  for (std::uint32_t i = 0; i < pairs.size(); i++) CHECK(!sender->start(part(i, pairs[i], opened, i * 1000, contents.size() - i * 1000)));
  for (std::uint32_t i = 0; i < pairs.size(); i++) CHECK(pairs[i].read(contents.size() - i * 1000) == contents.substr(i * 1000));
  std::uint64_t sent = 0;
  for (std::size_t i = 0; i < pairs.size(); i++) {
    const auto outcome = sender.next();
    CHECK(outcome.result.has_value());
    sent += outcome.sent;
  }
  CHECK(sent == 8 * contents.size() - 28'000);
}

RULE("what the socket takes at once is sent before start returns, and its outcome is not told again") {
  const TemporaryFile file("kernel and more");
  const auto opened = file.open();
  Outcomes<FileSender> sender;
  Pair pair;
  const auto outcome = sender->start(part(7, pair, opened, 0, 6));
  // A file system that cannot say what is in memory, such as old tmpfs, leaves it to the thread.
  if (outcome) CHECK(outcome->id == 7 && outcome->sent == 6 && outcome->result);
  CHECK(pair.read(6) == "kernel");
  sender->finish();
  CHECK(sender->take_outcomes().size() == (outcome ? 0 : 1));
}

RULE("the last bytes of a part leave at once, and the connection is left as it was") {
  const auto contents = pattern(5'000'001);
  const TemporaryFile file(contents);
  const auto opened = file.open();
  Outcomes<FileSender> sender;
  TcpPair pair;
  CHECK(!sender->start(part(1, pair, opened, 0, contents.size())));
  CHECK(pair.read(contents.size()) == contents);
  CHECK(sender.next().result.has_value());
  int corked = -1;
  socklen_t size = sizeof corked;
  ::getsockopt(pair.ours.get(), IPPROTO_TCP, TCP_CORK, &corked, &size);
  CHECK(corked == 0);
}

RULE("a reader that goes, a cancel, a shorter file and one that takes nothing each end a part with their reason") {
  const pipeline::PipeSignalGuard no_pipe_signal;
  const TemporaryFile file(pattern(4'000'000));
  const auto opened = file.open();
  Outcomes<FileSender> sender;
  Pair gone, went, cancelled, shrunk, stalled;
  CHECK(!sender->start(part(1, gone, opened, 0, 4'000'000)));
  gone.peer.reset();
  CHECK(sender.next().result.error().code == "http.aborted");
  went.peer.reset();
  const auto at_once = sender->start(part(5, went, opened, 0, 4'000'000));
  CHECK((at_once ? *at_once : sender.next()).result.error().code == "http.aborted");
  CHECK(!sender->start(part(2, cancelled, opened, 0, 4'000'000)));
  sender->cancel(2);
  CHECK(sender.next().result.error().kind == FaultKind::cancelled);
  // Its last byte is not in memory because it does not exist.
  CHECK(!sender->start(part(3, shrunk, opened, 3'999'999, 10'000)));
  const auto outcome = sender.next();
  CHECK(outcome.sent == 1 && outcome.result.error().code == "file.shrunk");
  auto patient = part(4, stalled, opened, 0, 4'000'000);
  patient.patience = std::chrono::milliseconds(1);
  CHECK(!sender->start(std::move(patient)));
  CHECK(sender.next().result.error().code == "http.stalled");
}
