#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "bytes/crc32c.hpp"
#include "bytes/unique_fd.hpp"
#include "fuzz/iscsi.hpp"
#include "iscsi/session.hpp"

namespace ironrack::fuzz {
namespace {

constexpr std::uint32_t kMostOut = 65536;
constexpr std::uint32_t kMostIn = 8192;
constexpr std::size_t kMostRooms = 60;
constexpr std::uint32_t kAbortBit = 0x20000000;  // what Session's tag of an ABORT TASK has beside its task's

/// A command as the target sees it.
struct Given {
  std::uint32_t itt = 0;
  std::uint32_t out = 0;     // bytes it may ask for
  std::uint32_t in = 0;      // bytes it may send
  std::uint32_t done = 0;    // of either
  std::uint32_t pieces = 0;  // R2Ts or Data-Ins
};

/// One that reads what we send, so that its answers can be right ones.
class Target {
 public:
  Target(Input& input, const iscsi::Negotiated& negotiated, std::uint32_t unsolicited) : input_(input), negotiated_(negotiated), unsolicited_(unsolicited) {}

  void see(const iscsi::Segment& piece) {
    if (piece.memory == nullptr || piece.length != iscsi::kHeaderSize + (negotiated_.header_digest ? 4 : 0)) return;
    const auto* head = piece.memory;
    const auto itt = load_be<std::uint32_t>(head + 16);
    switch (static_cast<int>(head[0]) & 0x3f) {
      case 0x00:
      case 0x02:
      case 0x06: asked_.push_back({static_cast<int>(head[0]) & 0x3f, itt}); break;
      case 0x01: {
        if (std::ranges::find(seen_, itt) != seen_.end()) break;  // the header is offered again: it did not leave the first time
        seen_.push_back(itt);
        Given one;
        one.itt = itt;
        const auto expected = load_be<std::uint32_t>(head + 20);
        const bool write = (static_cast<int>(head[1]) & 0x20) != 0;
        (write ? one.out : one.in) = expected;
        if (write) one.done = std::min(expected, unsolicited_);
        given_.push_back(one);
        break;
      }
      default: break;
    }
  }

  /// The header of a right answer; `body` becomes what follows it.
  Bytes answer(Bytes& body) {
    body.clear();
    if (!asked_.empty() && (given_.empty() || input_.one_in(2))) {
      const auto [opcode, itt] = asked_.back();
      asked_.pop_back();
      auto out = header(opcode == 0x00 ? 0x20 : opcode == 0x02 ? 0x22 : 0x26, itt);
      if (opcode == 0x00) store_be<std::uint32_t>(&out[20], 0xffffffff);
      if (opcode == 0x02) {
        out[2] = static_cast<std::byte>(input_.below(2));
        std::erase_if(given_, [tag = itt & ~kAbortBit](const Given& one) { return one.itt == tag; });
      }
      return out;
    }
    if (given_.empty()) return async();
    const auto at = input_.below(static_cast<std::uint32_t>(given_.size()));
    auto& one = given_[at];
    if (one.done < one.out) {
      const auto length = std::min({one.out - one.done, 1 + input_.below(kMostOut), negotiated_.max_burst_length});
      auto out = header(0x31, one.itt);
      store_be<std::uint32_t>(&out[20], input_.below(1000));
      store_be(&out[36], one.pieces++);
      store_be(&out[40], one.done);
      store_be(&out[44], length);
      one.done += length;
      return out;
    }
    const bool read = one.done < one.in;
    const bool last = !read || input_.one_in(3);
    auto out = header(read ? 0x25 : 0x21, one.itt);
    if (read) {
      body = input_.noise(std::min<std::size_t>(one.in - one.done, 4096));
      store_be(&out[36], one.pieces++);
      store_be(&out[40], one.done);
      one.done += static_cast<std::uint32_t>(body.size());
      if (last) out[1] |= std::byte{1};
      store_be24(&out[5], static_cast<std::uint32_t>(body.size()));
    } else if (input_.one_in(4)) {
      out[3] = std::byte{2};
      const auto sense = input_.noise(60);
      body.resize(2);
      store_be(&body[0], static_cast<std::uint16_t>(input_.one_in(8) ? input_.below(65536) : sense.size()));
      body.insert(body.end(), sense.begin(), sense.end());
      if (body.size() > 2) body[2] = static_cast<std::byte>(0x70 + input_.below(4));
      store_be24(&out[5], static_cast<std::uint32_t>(body.size()));
      if (input_.one_in(3)) out[1] |= std::byte{2};
      store_be<std::uint32_t>(&out[44], input_.below(100000));
    }
    if (last) given_.erase(given_.begin() + at);
    return out;
  }

  /// The header of anything, for a known command more often than not.
  Bytes anything(std::uint32_t length) {
    static constexpr int kOpcodes[] = {0x20, 0x21, 0x21, 0x22, 0x23, 0x24, 0x25, 0x25, 0x26, 0x31, 0x31, 0x31, 0x32, 0x3f};
    const auto itt = given_.empty() || input_.one_in(5) ? static_cast<std::uint32_t>(input_.number()) : given_[input_.below(static_cast<std::uint32_t>(given_.size()))].itt;
    auto out = header(kOpcodes[input_.below(std::size(kOpcodes))], itt);
    out[1] = input_.byte();
    store_be24(&out[5], length);
    for (std::size_t at = 20; at < 48; at += 4) store_be<std::uint32_t>(&out[at], input_.one_in(2) ? input_.below(70000) : static_cast<std::uint32_t>(input_.number()));
    return out;
  }

 private:
  Bytes header(int opcode, std::uint32_t itt) {
    Bytes out(iscsi::kHeaderSize);
    out[0] = static_cast<std::byte>(opcode);
    out[1] = std::byte{0x80};
    store_be(&out[16], itt);
    store_be(&out[24], stat_sn_++);
    store_be(&out[28], cmd_sn_);
    if (input_.one_in(3)) most_ += input_.below(5);
    store_be(&out[32], most_);
    return out;
  }

  Bytes async() {
    auto out = header(input_.one_in(3) ? 0x32 : 0x20, 0xffffffff);
    out[36] = static_cast<std::byte>(input_.one_in(8) ? input_.below(8) : 0);
    store_be<std::uint32_t>(&out[20], input_.below(1000));
    return out;
  }

  struct Asked {
    int opcode;
    std::uint32_t itt;
  };

  Input& input_;
  const iscsi::Negotiated& negotiated_;
  std::uint32_t unsolicited_;
  std::vector<Given> given_;
  std::vector<std::uint32_t> seen_;
  std::vector<Asked> asked_;
  std::uint32_t stat_sn_ = 1;
  std::uint32_t cmd_sn_ = 1;
  std::uint32_t most_ = 40;
};

/// A file, and payloads of every kind from it.
class Payloads {
 public:
  Payloads() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)), data_(kMostOut, std::byte{0xff}) {
    if (::ftruncate(fd_.get(), kMostOut) != 0) std::abort();
  }

  iscsi::Payload some(Input& input, std::uint32_t length) {
    iscsi::Payload out;
    out.length = length;
    if (input.below(3) < 2) {
      out.memory = data_.data();
      return out;
    }
    out.file = fd_.get();
    out.parts = kParts;
    out.piece_checksums = kChecksums;
    out.begin = 512 * input.below(2);
    out.length = std::min(length, kMostOut - out.begin);
    return out;
  }

 private:
  static constexpr iscsi::FilePart kParts[] = {{0, 4096}, {8192, 12288}, {1024, 512}, {0, kMostOut - 4096 - 12288 - 512}};

  static constexpr std::uint32_t kChecksums[kMostOut / kChecksumPiece]{};

  UniqueFd fd_;
  Bytes data_;
};

struct Setting {
  iscsi::Negotiated negotiated;
  std::uint32_t odd = 0;  // one answer in so many is not a right one; 0: none
};

Setting draw(Input& input) {
  Setting out;
  auto& each = out.negotiated;
  each.max_recv_data_segment_length = 512u << input.below(10);
  each.max_burst_length = 512u << input.below(12);
  each.first_burst_length = std::min(each.max_burst_length, 512u << input.below(10));
  each.initial_r2t = input.one_in(2);
  each.immediate_data = input.one_in(2);
  each.data_digest = input.one_in(4);
  each.header_digest = input.one_in(4);
  each.window = {0, 1, 40};
  if (!input.one_in(3)) out.odd = 1 + input.below(20);
  return out;
}

}  // namespace

/// A session that is told anything, in pieces of any size, by a target that begins as a good one. A good one's answers are never refused.
void fuzz_session(Input& input) {
  static Payloads payloads;
  const auto [negotiated, odd] = draw(input);
  iscsi::Session session(negotiated, 1, 0);
  Target target(input, negotiated, session.unsolicited_bytes());
  iscsi::Framer framer(kMostIn + 1024);
  std::vector<Bytes> rooms;
  rooms.reserve(kMostRooms);
  std::array<bool, 200> ended{};
  std::array<iscsi::Segment, 64> segments;
  for (std::uint32_t step = 0; step < ended.size(); step++) {
    if (session.room() > 0 && input.one_in(3)) {
      iscsi::Command command;
      command.cookie = step;
      if (input.one_in(2) || rooms.size() == kMostRooms) {
        command.cdb = iscsi::write_16(0, 128);
        command.out = payloads.some(input, kMostOut >> input.below(8));
      } else {
        command.cdb = iscsi::read_16(0, 8);
        command.in = rooms.emplace_back(1 + input.below(kMostIn));
      }
      session.submit(command, step);
    }
    if (input.one_in(30)) session.ping(step);
    if (input.one_in(60)) (void)session.abort_older_than(step - input.below(step + 1), step);
    if (input.one_in(200)) session.logout();
    (void)session.abort_asked_ms();
    while (session.has_output() && !input.one_in(3)) {
      const auto burst = session.next_burst(segments);
      std::size_t total = 0;
      for (std::size_t i = 0; i < burst.count; i++) {
        target.see(segments[i]);
        total += segments[i].length;
      }
      if (total == 0) std::abort();  // there is output, and nothing would ever leave
      session.sent(input.one_in(2) ? total : input.below(static_cast<std::uint32_t>(total + 1)));
    }
    Bytes body;
    auto pdu = target.answer(body);
    const bool wrong = odd > 0 && input.one_in(odd);
    if (wrong && input.one_in(2)) {
      body = input.noise(input.one_in(4) ? 9000 : 64);
      pdu = target.anything(static_cast<std::uint32_t>(body.size()));
    } else if (wrong) {
      input.change(pdu);
    }
    if (wrong && input.one_in(2)) {
      // Through the framer, which may find anything in what follows.
      pdu.insert(pdu.end(), body.begin(), body.end());
      const auto room = framer.room();
      const auto count = std::min(room.size(), pdu.size());
      std::memcpy(room.data(), pdu.data(), count);
      framer.received(count);
      while (true) {
        const auto frame = framer.next();
        if (!frame) return;
        if (!*frame) break;
        if (!session.receive(**frame, step)) return;
      }
    } else if (pdu.size() == iscsi::kHeaderSize && !session.receive({pdu, body}, step)) {
      if (odd == 0) std::abort();
      return;
    }
    for (const auto& each : session.take_completions()) {
      if (each.cookie >= ended.size() || std::exchange(ended[each.cookie], true)) std::abort();
    }
  }
}

}  // namespace ironrack::fuzz
