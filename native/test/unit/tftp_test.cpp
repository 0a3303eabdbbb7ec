#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "serve/tftp_exchange.hpp"
#include "serve/tftp_packet.hpp"
#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::serve;

namespace {

using Bytes = std::vector<std::byte>;

Bytes packet(std::uint16_t opcode, std::uint16_t number, std::string_view rest = "") {
  Bytes out(4 + rest.size());
  store_be(out.data(), opcode);
  store_be(out.data() + 2, number);
  std::transform(rest.begin(), rest.end(), out.begin() + 4, [](char c) { return static_cast<std::byte>(c); });
  return out;
}

TftpActions ack(TftpExchange& exchange, std::uint64_t block) { return exchange.receive(packet(kAck, static_cast<std::uint16_t>(block))); }

TftpExchange begin(std::uint64_t size, TftpTerms terms = {}) {
  TftpExchange exchange(size, terms);
  exchange.start();
  if (terms.offered) ack(exchange, 0);
  return exchange;
}

/// What is sent, in words: "3+4" for blocks 3 to 6.
std::string sent(const TftpActions& actions) {
  std::string out;
  if (actions.offer) out += "oack ";
  if (actions.count > 0) out += std::to_string(actions.first) + "+" + std::to_string(actions.count) + " ";
  if (actions.error) out += "error ";
  if (actions.done) out += "done ";
  if (!out.empty()) out.pop_back();
  return out;
}

bool ends(const TftpActions& actions, TftpEnd end) { return actions.done && actions.done->end == end; }

/// A client after RFC 7440 §4: takes blocks in order, acknowledges each window's last and whatever it has when a gap or a
/// repetition shows.
class Client {
 public:
  Client(std::uint64_t blocks, std::uint32_t windowsize) : blocks_(blocks), windowsize_(windowsize) {}

  std::uint64_t offered() const { return got_; }

  std::optional<std::uint64_t> data(std::uint64_t block) {
    if (block != got_ + 1) {
      since_ack_ = 0;
      return got_;
    }
    got_ = block;
    since_ack_++;
    done = got_ == blocks_;
    if (!done && since_ack_ < windowsize_) return std::nullopt;
    since_ack_ = 0;
    return got_;
  }

  bool done = false;

 private:
  std::uint64_t blocks_;
  std::uint32_t windowsize_;
  std::uint64_t got_ = 0;
  std::uint32_t since_ack_ = 0;
};

/// A fifth is lost, a fifth comes twice, a fifth overtakes the one before.
template <typename T>
std::deque<T> over_the_wire(const std::deque<T>& items, std::mt19937& random) {
  std::deque<T> out;
  for (const auto& item : items) {
    const auto luck = random() % 100;
    if (luck < 20) continue;
    out.push_back(item);
    if (luck < 40) out.push_back(item);
    if (luck >= 40 && luck < 60 && out.size() > 1) std::swap(out[out.size() - 1], out[out.size() - 2]);
  }
  return out;
}

/// Whether the file arrives, and nothing is doubled for ever.
bool arrives_over_a_bad_wire(std::uint32_t windowsize, std::uint32_t seed) {
  std::mt19937 random(seed);
  const std::uint64_t size = random() % 200'000;
  TftpExchange exchange(size, {512, windowsize, std::nullopt, true});
  Client client(exchange.blocks(), windowsize);
  std::deque<std::uint64_t> back;  // ACKs under way
  std::uint64_t total = 0;
  int silence = 0;
  bool started = false;
  while (!client.done) {
    TftpActions actions;
    if (!started) {
      actions = exchange.start();
      started = true;
    } else if (back.empty()) {
      // So many timeouts in a row are bad luck of this wire; an exchange may give up, and then the client has to be near its end.
      actions = exchange.timeout();
      if (exchange.over()) return silence >= 5;
      silence++;
    } else {
      actions = ack(exchange, back.front());
      back.pop_front();
      silence = 0;
    }
    std::deque<std::uint64_t> wire;  // 0 is the OACK
    if (actions.offer) wire.push_back(0);
    for (std::uint64_t block = actions.first; block < actions.first + actions.count; block++) wire.push_back(block);
    total += wire.size();
    for (const auto block : over_the_wire(wire, random)) {
      const auto answer = block == 0 ? std::optional(client.offered()) : client.data(block);
      if (answer) back.push_back(*answer);
    }
    back = over_the_wire(back, random);
    if (total > 300'000) return false;
  }
  return total <= (exchange.blocks() + 10) * (2 + windowsize);
}

}  // namespace

RULE("without options the first block comes at once, then one per ACK, the last one short (RFC 1350 §2)") {
  TftpExchange exchange(1024, {});
  CHECK(sent(exchange.start()) == "1+1");
  CHECK(sent(ack(exchange, 1)) == "2+1");
  CHECK(sent(ack(exchange, 2)) == "3+1");
  CHECK(exchange.offset(3) == 1024 && exchange.length(3) == 0 && exchange.length(2) == 512);
  CHECK(ends(ack(exchange, 3), TftpEnd::complete));
}

RULE("an empty file is one empty block") {
  TftpExchange exchange(0, {});
  CHECK(sent(exchange.start()) == "1+1");
  CHECK(exchange.offset(1) == 0 && exchange.length(1) == 0);
  CHECK(ends(ack(exchange, 1), TftpEnd::complete));
}

RULE("options are answered first and data waits for ACK 0 (RFC 2347)") {
  TftpExchange exchange(5000, {1000, 1, std::nullopt, true});
  CHECK(sent(exchange.start()) == "oack");
  CHECK(sent(ack(exchange, 7)) == "");
  CHECK(sent(ack(exchange, 0)) == "1+1");
}

RULE("an ACK that comes twice is not answered twice: no Sorcerer's Apprentice (RFC 1123 §4.2.3.1)") {
  auto exchange = begin(9000);
  ack(exchange, 1);
  CHECK(sent(ack(exchange, 1)) == "");
  CHECK(sent(ack(exchange, 2)) == "3+1");
}

RULE("a window goes out whole, and the next one after its last ACK (RFC 7440 §4)") {
  TftpExchange exchange(512 * 10, {512, 4, std::nullopt, true});
  exchange.start();
  CHECK(sent(ack(exchange, 0)) == "1+4");
  CHECK(sent(ack(exchange, 4)) == "5+4");
  CHECK(sent(ack(exchange, 8)) == "9+3");
}

RULE("an ACK within the window moves the window behind it, and the same ACK again does not") {
  auto exchange = begin(512 * 20, {512, 4, std::nullopt, true});
  CHECK(sent(ack(exchange, 2)) == "3+4");
  CHECK(sent(ack(exchange, 2)) == "");
  CHECK(sent(ack(exchange, 6)) == "7+4");
}

RULE("the ACK of the window before, once, means that this window's first block was lost") {
  auto exchange = begin(512 * 20, {512, 4, std::nullopt, true});
  ack(exchange, 4);
  CHECK(sent(ack(exchange, 4)) == "5+4");
  CHECK(sent(ack(exchange, 4)) == "");
}

RULE("numbers go round after 65535") {
  auto exchange = begin(512 * 70'000);
  for (std::uint64_t block = 1; block < 65'536; block++) ack(exchange, block);
  CHECK(sent(ack(exchange, 65'536)) == "65537+1");
  CHECK(sent(ack(exchange, 65'535)) == "");  // old
  std::byte header[kDataHeader];
  store_data_header(header, 65'537);
  CHECK(load_be<std::uint32_t>(header) == 0x00030001);
}

RULE("a timeout repeats what was last sent, later and later, and at last gives up") {
  auto exchange = begin(9000);
  ack(exchange, 1);
  const std::uint32_t waits[] = {2, 4, 8, 8, 8};
  for (const auto wait : waits) {
    const auto actions = exchange.timeout();
    CHECK(sent(actions) == "2+1" && actions.arm_s == wait);
  }
  CHECK(sent(exchange.timeout()) == "error done");
}

RULE("the client's own timeout is kept as it asked, and a short one does not give it up early") {
  TftpExchange exchange(9000, {512, 1, 1, true});
  exchange.start();
  for (int round = 0; round < 29; round++) CHECK(exchange.timeout().arm_s == 1u);
  CHECK(ends(exchange.timeout(), TftpEnd::lost));
}

RULE("progress after a timeout makes the next wait short again") {
  auto exchange = begin(9000);
  exchange.timeout();
  exchange.timeout();
  CHECK(ack(exchange, 1).arm_s == 1u);
}

RULE("who leaves without the last ACK is lost without an ERROR; a closed port ends a transfer at once") {
  auto exchange = begin(100);
  TftpActions actions;
  while (!actions.done) actions = exchange.timeout();
  CHECK(sent(actions) == "done" && actions.done->message == "the last ACK did not come");
  auto other = begin(9000);
  CHECK(sent(other.refused()) == "done" && other.over());
}

RULE("a client that wanted only the size declines with an ERROR, which is no failure") {
  TftpExchange exchange(9000, {512, 1, std::nullopt, true});
  exchange.start();
  const auto declined = exchange.receive(packet(kError, 8, std::string_view("User aborted the transfer\0", 26)));
  CHECK(ends(declined, TftpEnd::declined) && declined.done->code == 8 && declined.done->message == "User aborted the transfer");
  auto other = begin(9000);
  const auto aborted = other.receive(packet(kError, 3, "disk full"));
  CHECK(ends(aborted, TftpEnd::aborted) && aborted.done->code == 3 && aborted.done->message == "disk full");
}

RULE("DATA from a reader ends the transfer with an error; the request again is passed over") {
  auto exchange = begin(9000);
  CHECK(sent(exchange.receive(packet(kRrq, 0x6600, "octet"))) == "");
  CHECK(sent(exchange.receive(packet(kData, 1))) == "error done");
}

RULE("what is no packet is counted and changes nothing; after the end nothing moves") {
  auto exchange = begin(9000);
  for (const auto& bytes : {Bytes{}, Bytes(1), Bytes(3), packet(0, 0), packet(9, 1), Bytes{std::byte{0}, std::byte{4}, std::byte{1}}}) CHECK(sent(exchange.receive(bytes)) == "");
  CHECK(exchange.malformed() == 6);
  CHECK(sent(ack(exchange, 1)) == "2+1");
  auto over = begin(0);
  ack(over, 1);
  CHECK(sent(ack(over, 1)) == "" && sent(over.timeout()) == "" && sent(over.refused()) == "");
}

RULE("over a wire that loses, doubles and reorders a fifth, a file arrives whole with every window") {
  for (const std::uint32_t windowsize : {1, 2, 7, 16, 64}) {
    for (std::uint32_t run = 0; run < 20; run++) {
      const bool good = arrives_over_a_bad_wire(windowsize, 1000 * windowsize + run);
      if (!good) std::printf("  window %u, run %u\n", windowsize, run);
      CHECK(good);
    }
  }
}
