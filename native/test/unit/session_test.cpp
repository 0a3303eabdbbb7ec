#include "iscsi/discovery.hpp"
#include "iscsi/session.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "bytes/crc32c.hpp"
#include "bytes/unique_fd.hpp"
#include "test/check.hpp"

using namespace ironrack;
using namespace ironrack::iscsi;

namespace {

Negotiated negotiated() {
  Negotiated out;
  out.max_recv_data_segment_length = 8192;
  out.first_burst_length = 16384;
  out.max_burst_length = 65536;
  out.initial_r2t = false;
  out.window = {0, 1, 8};
  return out;
}

struct Sent {
  std::vector<Header> headers;
  std::vector<std::byte> data;
};

/// Takes all output of a session in pieces of `step` bytes, and cuts it into headers and data.
Sent drain(Session& session, std::size_t step = SIZE_MAX) {
  std::vector<std::byte> stream;
  std::array<Segment, 16> segments;
  while (session.has_output()) {
    const auto burst = session.next_burst(segments);
    std::size_t taken = 0;
    for (std::size_t i = 0; i < burst.count && taken < step; i++) {
      const auto* from = segments[i].memory;
      const auto piece = std::min(segments[i].length, step - taken);
      stream.insert(stream.end(), from, from + piece);
      taken += piece;
    }
    session.sent(taken);
  }
  Sent out;
  for (std::size_t at = 0; at < stream.size();) {
    Header header;
    std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), kHeaderSize, header.begin());
    out.headers.push_back(header);
    const auto length = decode_lengths(header).data_segment;
    at += kHeaderSize;
    out.data.insert(out.data.end(), stream.begin() + static_cast<std::ptrdiff_t>(at), stream.begin() + static_cast<std::ptrdiff_t>(at + length));
    at += (length + 3) & ~3u;
  }
  return out;
}

std::uint32_t field(const Header& header, std::size_t at) { return load_be<std::uint32_t>(&header[at]); }
bool final(const Header& header) { return (header[1] & std::byte{0x80}) != std::byte{0}; }
int opcode(const Header& header) { return static_cast<int>(header[0]) & 0x3f; }

struct Answer {
  std::vector<std::byte> header = std::vector<std::byte>(kHeaderSize);
  std::vector<std::byte> data;
  Answer(int opcode, std::uint32_t itt) {
    header[0] = static_cast<std::byte>(opcode);
    header[1] = std::byte{0x80};
    u32(16, itt).u32(28, 2).u32(32, 9);
  }
  Answer& u8(std::size_t at, unsigned value) { return header[at] = static_cast<std::byte>(value), *this; }
  Answer& u32(std::size_t at, std::uint32_t value) { return store_be(&header[at], value), *this; }
  Result<void> to(Session& session) const { return session.receive({header, data}, 0); }
};

Command write_of(const std::vector<std::byte>& bytes) {
  Command command;
  command.cdb = write_16(0, static_cast<std::uint32_t>(bytes.size() / 512));
  command.out.memory = bytes.data();
  command.out.length = static_cast<std::uint32_t>(bytes.size());
  command.cookie = 77;
  return command;
}

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; i++) out[i] = static_cast<std::byte>(i * 31 >> 3);
  return out;
}

}  // namespace

RULE("a write sends immediate and unsolicited data up to FirstBurstLength, the rest after R2Ts, in segments the target takes") {
  for (const std::size_t step : {std::size_t{SIZE_MAX}, std::size_t{1}, std::size_t{4099}}) {
    Session session(negotiated(), 1, 0);
    const auto bytes = pattern(40960);
    session.submit(write_of(bytes), 0);
    auto sent = drain(session, step);
    CHECK(sent.headers.size() == 2);
    CHECK(opcode(sent.headers[0]) == 1 && !final(sent.headers[0]));
    CHECK(opcode(sent.headers[1]) == 5 && final(sent.headers[1]) && field(sent.headers[1], 20) == kReservedTag && field(sent.headers[1], 40) == 8192);
    const auto itt = field(sent.headers[0], 16);
    auto data = sent.data;
    CHECK(Answer(0x31, itt).u32(20, 5).u32(40, 16384).u32(44, 24576).to(session));
    sent = drain(session, step);
    CHECK(sent.headers.size() == 3 && final(sent.headers[2]) && !final(sent.headers[1]));
    CHECK(field(sent.headers[2], 20) == 5 && field(sent.headers[2], 36) == 2 && field(sent.headers[2], 40) == 32768);
    data.insert(data.end(), sent.data.begin(), sent.data.end());
    CHECK(data == bytes);
    CHECK(Answer(0x21, itt).to(session));
    const auto completions = session.take_completions();
    CHECK(completions.size() == 1 && completions[0].cookie == 77 && completions[0].status == ScsiStatus::good);
    CHECK(session.outstanding() == 0);
  }
}

RULE("no unsolicited Data-Out leaves when InitialR2T is Yes, and no immediate data when ImmediateData is No") {
  auto parameters = negotiated();
  parameters.initial_r2t = true;
  parameters.immediate_data = false;
  Session session(parameters, 1, 0);
  const auto bytes = pattern(40960);
  session.submit(write_of(bytes), 0);
  const auto sent = drain(session);
  CHECK(sent.headers.size() == 1 && final(sent.headers[0]) && sent.data.empty());
}

RULE("commands stop at MaxCmdSN, and a window that goes back is ignored") {
  Session session(negotiated(), 1, 0);
  CHECK(session.room() == 8);
  Command command;
  command.cdb = test_unit_ready();
  for (int i = 0; i < 8; i++) session.submit(command, 0);
  CHECK(session.room() == 0);
  CHECK(Answer(0x20, kReservedTag).u32(20, kReservedTag).u32(28, 3).u32(32, 5).to(session));
  CHECK(session.room() == 0);
  CHECK(Answer(0x20, kReservedTag).u32(20, kReservedTag).u32(28, 3).u32(32, 12).to(session));
  CHECK(session.room() == 4);
}

RULE("a command that was answered early completes only when its bytes are out") {
  Session session(negotiated(), 1, 0);
  const auto bytes = pattern(8192);
  session.submit(write_of(bytes), 0);
  std::array<Segment, 16> segments;
  (void)session.next_burst(segments);
  session.sent(100);
  const auto itt = load_be<std::uint32_t>(segments[0].memory + 16);
  CHECK(Answer(0x21, itt).u8(3, 0x08).to(session));
  CHECK(session.take_completions().empty());
  session.sent(kHeaderSize + bytes.size() - 101);
  CHECK(session.take_completions().empty());
  session.sent(1);
  CHECK(session.take_completions().size() == 1);
}

RULE("an R2T outside the command, out of order, for nothing, or for an unknown command is a protocol fault") {
  const auto bytes = pattern(40960);
  for (const auto& [offset, length, number, tag] : {std::tuple{16384u, 65537u, 0u, 0u}, {8192u, 512u, 0u, 0u}, {40960u, 512u, 0u, 0u}, {16384u, 0u, 0u, 0u}, {16384u, 24577u, 0u, 0u}, {16384u, 512u, 1u, 0u}, {16384u, 512u, 0u, 1u}}) {
    Session session(negotiated(), 1, 0);
    session.submit(write_of(bytes), 0);
    const auto itt = field(drain(session).headers[0], 16);
    const auto result = Answer(0x31, itt + tag).u32(40, offset).u32(44, length).u32(36, number).to(session);
    CHECK(!result && result.error().kind == FaultKind::protocol);
  }
}

RULE("data beyond what was asked for is a protocol fault, data in order is taken") {
  Session session(negotiated(), 1, 0);
  std::vector<std::byte> room(1000);
  Command command;
  command.cdb = inquiry(1000);
  command.in = room;
  session.submit(command, 0);
  const auto itt = field(drain(session).headers[0], 16);
  Answer first(0x25, itt);
  first.data = pattern(600);
  first.u8(1, 0);
  CHECK(first.to(session));
  Answer gap(0x25, itt);
  gap.data = pattern(100);
  gap.u32(40, 700);
  CHECK(!gap.to(session));
  Answer beyond(0x25, itt);
  beyond.data = pattern(401);
  beyond.u32(40, 600);
  CHECK(!beyond.to(session));
  Answer last(0x25, itt);
  last.data = pattern(200);
  last.u32(40, 600).u8(1, 0x83);
  CHECK(last.to(session));
  const auto completions = session.take_completions();
  CHECK(completions.size() == 1 && completions[0].received == 800);
}

RULE("a ping is answered with its tag and LUN; too many unread pings end the connection") {
  Session session(negotiated(), 1, 0);
  CHECK(Answer(0x20, kReservedTag).u32(20, 0x55).u32(8, 0x00010000).to(session));
  const auto sent = drain(session);
  CHECK(sent.headers.size() == 1 && opcode(sent.headers[0]) == 0 && field(sent.headers[0], 20) == 0x55 && field(sent.headers[0], 8) == 0x00010000);
  bool flooded = false;
  for (int i = 0; i < 1000 && !flooded; i++) flooded = !Answer(0x20, kReservedTag).u32(20, 0x55).to(session);
  CHECK(flooded);
}

RULE("an answer to a command that was not given, or given before, is a protocol fault") {
  Session session(negotiated(), 1, 0);
  CHECK(!Answer(0x21, 0x1234).to(session));
  Command command;
  command.cdb = test_unit_ready();
  session.submit(command, 0);
  const auto itt = field(drain(session).headers[0], 16);
  CHECK(Answer(0x21, itt).to(session));
  CHECK(!Answer(0x21, itt).to(session));
}

RULE("a rejected PDU ends the connection, a rejected ping does not") {
  Session session(negotiated(), 1, 0);
  Answer reject(0x3f, kReservedTag);
  reject.u8(2, 4);
  reject.data = std::vector<std::byte>(kHeaderSize);
  CHECK(reject.to(session));
  reject.data[0] = std::byte{0x01};
  const auto result = reject.to(session);
  CHECK(!result && result.error().code == "iscsi.rejected");
}

RULE("a digest from pieces' checksums is that of the bytes, in memory or in parts of a file, wherever it begins and ends") {
  std::vector<std::byte> bytes(5 * kChecksumPiece);
  std::mt19937 random(11);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  std::vector<std::uint32_t> pieces;
  for (std::size_t at = 0; at < bytes.size(); at += kChecksumPiece) pieces.push_back(crc32c(0, ByteSpan(bytes).subspan(at, kChecksumPiece)));

  const UniqueFd file(::memfd_create("parts", MFD_CLOEXEC));
  CHECK(::pwrite(file.get(), bytes.data() + 5000, bytes.size() - 5000, 100) == static_cast<ssize_t>(bytes.size() - 5000));
  CHECK(::pwrite(file.get(), bytes.data(), 5000, 50000) == 5000);
  const FilePart parts[] = {{50000, 5000}, {100, static_cast<std::uint32_t>(bytes.size() - 5000)}};
  Payload in_memory{.memory = bytes.data(), .piece_checksums = pieces};
  Payload in_file{.file = file.get(), .parts = parts, .piece_checksums = pieces};
  for (const std::uint32_t begin : {0u, 512u, 4096u, 8191u}) {
    for (const std::uint32_t offset : {0u, 1u, 4096u}) {
      for (const std::uint32_t length : {0u, 3u, 512u, 4096u, 4097u, 8192u}) {
        in_memory.begin = in_file.begin = begin;
        const auto expected = crc32c(0, ByteSpan(bytes).subspan(begin + offset, length));
        CHECK(data_digest(in_memory, offset, length) == expected);
        CHECK(data_digest(in_file, offset, length) == expected);
      }
    }
  }
}

RULE("a command that takes too long is aborted by its tag and CmdSN; what the target says of that ends it, unless it ended by itself") {
  Session session(negotiated(), 1, 0);
  const auto bytes = pattern(512);
  for (int i = 0; i < 3; i++) session.submit(write_of(bytes), static_cast<std::uint64_t>(i));
  auto sent = drain(session);
  CHECK(!session.abort_older_than(0, 50) == false);
  CHECK(!session.abort_older_than(0, 60));
  CHECK(session.abort_asked_ms() == 50);
  const auto request = drain(session).headers.at(0);
  CHECK(opcode(request) == 2 && (request[0] & std::byte{0x40}) != std::byte{0} && request[1] == std::byte{0x81});
  CHECK(field(request, 20) == field(sent.headers[0], 16) && field(request, 32) == field(sent.headers[0], 24));
  CHECK(Answer(0x22, field(request, 16)).to(session));
  auto completions = session.take_completions();
  CHECK(completions.size() == 1 && completions[0].aborted && completions[0].status == ScsiStatus::task_aborted);
  CHECK(!session.abort_asked_ms() && session.outstanding() == 2);

  CHECK(session.abort_older_than(1, 70));
  const auto second = drain(session).headers.at(0);
  CHECK(Answer(0x21, field(sent.headers[1], 16)).to(session));
  CHECK(Answer(0x22, field(second, 16)).u8(2, 1).to(session));
  completions = session.take_completions();
  CHECK(completions.size() == 1 && !completions[0].aborted && completions[0].status == ScsiStatus::good);

  CHECK(session.abort_older_than(2, 80));
  const auto third = drain(session).headers.at(0);
  CHECK(!Answer(0x22, field(third, 16)).u8(2, 5).to(session));
  CHECK(!Answer(0x22, 0x12345678).to(session));
}

RULE("a list of targets is put together from its pieces; one without end, without a tag, or out of order is a fault") {
  const auto text = [](std::string_view keys) { return std::vector<std::byte>(reinterpret_cast<const std::byte*>(keys.data()), reinterpret_cast<const std::byte*>(keys.data()) + keys.size()); };
  const auto response = [](bool final, std::uint32_t ttt) {
    TextResponse pdu;
    pdu.final = final;
    pdu.itt = 1;
    pdu.ttt = ttt;
    return pdu;
  };
  SendTargets exchange(negotiated());
  const auto first = exchange.start();
  CHECK(opcode(first.header) == 4 && field(first.header, 20) == kReservedTag && first.data == text({"SendTargets=All\0", 16}));
  const auto more = exchange.advance(response(false, 9), text({"TargetName=a\0TargetAddr", 23}));
  CHECK(more && *more && field((*more)->header, 20) == 9 && (*more)->data.empty());
  const auto end = exchange.advance(response(true, kReservedTag), text({"ess=[fe80::1]:5,1\0TargetName=b\0", 31}));
  CHECK(end && !*end && exchange.targets().size() == 2);
  CHECK(exchange.targets()[0].portals.at(0).address == "fe80::1" && exchange.targets()[0].portals[0].port == 5 && exchange.targets()[1].portals.empty());
  CHECK(!SendTargets(negotiated()).advance(response(false, kReservedTag), text("x")));
  CHECK(!SendTargets(negotiated()).advance(response(false, 1), {}));
  CHECK(!SendTargets(negotiated()).advance(response(true, kReservedTag), text({"TargetAddress=1.2.3.4\0", 22})));
}

RULE("an Async Message that asks for a logout is heard") {
  Session session(negotiated(), 1, 0);
  CHECK(Answer(0x32, kReservedTag).u8(36, 0).to(session));
  CHECK(!session.asked_to_leave());
  CHECK(Answer(0x32, kReservedTag).u8(36, 1).to(session));
  CHECK(session.asked_to_leave() && session.room() == 0);
}
