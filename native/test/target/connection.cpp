#include "test/target/connection.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

namespace target {
namespace {

std::uint16_t get16(const unsigned char* from) { return static_cast<std::uint16_t>(from[0] << 8 | from[1]); }
std::uint32_t get24(const unsigned char* from) { return static_cast<std::uint32_t>(from[0]) << 16 | static_cast<std::uint32_t>(from[1]) << 8 | from[2]; }
std::uint32_t get32(const unsigned char* from) { return static_cast<std::uint32_t>(get16(from)) << 16 | get16(from + 2); }
std::uint64_t get64(const unsigned char* from) { return static_cast<std::uint64_t>(get32(from)) << 32 | get32(from + 4); }
void put32(unsigned char* to, std::uint32_t value) {
  for (int i = 0; i < 4; i++) to[i] = static_cast<unsigned char>(value >> (24 - 8 * i));
}
void put24(unsigned char* to, std::uint32_t value) {
  for (int i = 0; i < 3; i++) to[i] = static_cast<unsigned char>(value >> (16 - 8 * i));
}
void put64(unsigned char* to, std::uint64_t value) {
  put32(to, static_cast<std::uint32_t>(value >> 32));
  put32(to + 4, static_cast<std::uint32_t>(value));
}

/// Bit by bit, as the RFC defines it; the initiator's own is faster and another program.
std::uint32_t crc32c(const unsigned char* bytes, std::size_t length, std::uint32_t crc = 0xffffffff) {
  static const auto table = [] {
    std::array<std::array<std::uint32_t, 256>, 1> out{};
    for (std::uint32_t i = 0; i < 256; i++) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
      out[0][i] = value;
    }
    return out;
  }();
  for (std::size_t i = 0; i < length; i++) crc = crc >> 8 ^ table[0][(crc ^ bytes[i]) & 0xff];
  return crc;
}

void put_digest(unsigned char* to, std::uint32_t crc) {
  crc = ~crc;
  for (int i = 0; i < 4; i++) to[i] = static_cast<unsigned char>(crc >> (8 * i));
}

std::vector<unsigned char> sense(unsigned key, unsigned asc, unsigned ascq) {
  std::vector<unsigned char> out(18);
  out[0] = 0x70;
  out[2] = static_cast<unsigned char>(key);
  out[7] = 10;
  out[12] = static_cast<unsigned char>(asc);
  out[13] = static_cast<unsigned char>(ascq);
  return out;
}

std::string digest(const std::string& name, unsigned char identifier, const std::string& secret, const std::string& challenge) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const std::string input = std::string(1, static_cast<char>(identifier)) + secret + challenge;
  EVP_Digest(input.data(), input.size(), out, &size, EVP_get_digestbyname(name.c_str()), nullptr);
  return {reinterpret_cast<char*>(out), size};
}

std::string hex(const std::string& bytes) {
  std::string out = "0x";
  for (const unsigned char byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

std::string unhex(const std::string& text) {
  std::string out;
  for (std::size_t i = 2; i + 1 < text.size(); i += 2) out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return out;
}

const std::map<std::string, std::string> kChapDigests = {{"5", "MD5"}, {"6", "SHA1"}, {"7", "SHA256"}, {"8", "SHA3-256"}};

}  // namespace

Connection::~Connection() {
  if (file_ >= 0) ::close(file_);
  ::close(fd_);
}

void Connection::fill(std::size_t least) {
  if (input_end_ - input_begin_ >= least) return;
  flush();
  if (input_.size() < 65536) input_.resize(65536);
  std::memmove(input_.data(), input_.data() + input_begin_, input_end_ - input_begin_);
  input_end_ -= input_begin_;
  input_begin_ = 0;
  while (input_end_ < least) {
    // No more than a little ahead: payload is better taken, or dropped, straight from the socket.
    const auto count = ::recv(fd_, input_.data() + input_end_, std::max<std::size_t>(least - input_end_, 512), 0);
    if (count <= 0) throw Gone{};
    input_end_ += static_cast<std::size_t>(count);
  }
}

void Connection::take(unsigned char* to, std::size_t count) {
  const auto buffered = std::min(count, input_end_ - input_begin_);
  std::memcpy(to, input_.data() + input_begin_, buffered);
  input_begin_ += buffered;
  for (std::size_t at = buffered; at < count;) {
    flush();
    const auto got = ::recv(fd_, to + at, count - at, MSG_WAITALL);
    if (got <= 0) throw Gone{};
    at += static_cast<std::size_t>(got);
  }
}

void Connection::discard(std::size_t count) {
  const auto buffered = std::min(count, input_end_ - input_begin_);
  input_begin_ += buffered;
  count -= buffered;
  static thread_local unsigned char nowhere[4096];
  while (count > 0) {
    flush();
    // MSG_TRUNC drops bytes of a TCP stream in the kernel: a sink that costs next to nothing.
    const auto got = ::recv(fd_, nowhere, count, MSG_TRUNC);
    if (got <= 0) throw Gone{};
    count -= static_cast<std::size_t>(got);
  }
}

void Connection::put(const unsigned char* header, const unsigned char* data, std::size_t length) {
  output_.insert(output_.end(), header, header + 48);
  if (header_digest_) {
    output_.resize(output_.size() + 4);
    put_digest(&output_[output_.size() - 4], crc32c(header, 48));
  }
  if (length == 0) return;
  const auto begin = output_.size();
  output_.insert(output_.end(), data, data + length);
  output_.resize(begin + ((length + 3) & ~std::size_t{3}));
  if (data_digest_) {
    const auto crc = crc32c(&output_[begin], output_.size() - begin);
    output_.resize(output_.size() + 4);
    put_digest(&output_[output_.size() - 4], crc);
  }
  if (output_.size() > 1 << 20) flush();
}

void Connection::flush() {
  for (std::size_t at = 0; at < output_.size();) {
    const auto count = ::send(fd_, output_.data() + at, output_.size() - at, MSG_NOSIGNAL);
    if (count <= 0) throw Gone{};
    at += static_cast<std::size_t>(count);
  }
  output_.clear();
}

void Connection::window(unsigned char* header, bool advances) {
  put32(header + 24, advances ? stat_sn_++ : stat_sn_);
  put32(header + 28, exp_cmd_sn_);
  put32(header + 32, exp_cmd_sn_ + options_.window - 1 - static_cast<std::uint32_t>(std::min<std::size_t>(tasks_.size(), options_.window - 1)));
}

void Connection::serve() {
  try {
    login();
    while (true) {
      fill(48);
      unsigned char header[52];
      take(header, 48);
      if (header_digest_) {
        take(header + 48, 4);
        unsigned char expected[4];
        put_digest(expected, crc32c(header, 48));
        if (std::memcmp(expected, header + 48, 4) != 0) throw Gone{};
      }
      const auto data_length = get24(header + 5);
      const auto itt = get32(header + 16);
      switch (header[0] & 0x3f) {
        case 0x00: {  // NOP-Out
          scratch_.resize(data_length);
          take(scratch_.data(), data_length);
          discard(-data_length & 3u);
          if (itt == 0xffffffff) break;
          unsigned char answer[48] = {0x20, 0x80};
          put24(answer + 5, data_length);
          put32(answer + 16, itt);
          put32(answer + 20, 0xffffffff);
          window(answer, true);
          put(answer, scratch_.data(), data_length);
          break;
        }
        case 0x01: on_command(header, data_length); break;
        case 0x05: on_data_out(header, data_length); break;
        case 0x06: {
          unsigned char answer[48] = {0x26, 0x80};
          put32(answer + 16, itt);
          window(answer, true);
          put(answer, nullptr, 0);
          flush();
          return;
        }
        default: throw Gone{};
      }
    }
  } catch (const Gone&) {
  }
}

void Connection::login() {
  std::string algorithm;
  std::string challenge;
  std::string name;
  bool proven = options_.chap_user.empty();
  while (true) {
    fill(48);
    unsigned char header[48];
    take(header, 48);
    if ((header[0] & 0x3f) != 0x03) throw Gone{};
    const auto length = get24(header + 5);
    std::string text(length, 0);
    take(reinterpret_cast<unsigned char*>(text.data()), length);
    discard(-length & 3u);
    exp_cmd_sn_ = get32(header + 24);
    std::map<std::string, std::string> keys;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = text.find('\0', at);
      const auto pair = text.substr(at, end - at);
      at = end == std::string::npos ? text.size() : end + 1;
      if (const auto equals = pair.find('='); equals != std::string::npos) keys[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    std::string answer;
    const auto say = [&](const std::string& key, const std::string& value) { answer += key + "=" + value + '\0'; };
    const auto least = [&](const char* key, std::uint32_t ours) {
      if (!keys.contains(key)) return ours;
      const auto result = std::min(ours, static_cast<std::uint32_t>(std::stoul(keys[key])));
      say(key, std::to_string(result));
      return result;
    };
    const int stage = header[1] >> 2 & 3;
    const int next = header[1] & 3;
    bool transit = (header[1] & 0x80) != 0;
    unsigned char status_class = 0;
    unsigned char status_detail = 0;
    if (keys.contains("TargetName")) name = keys["TargetName"];
    if (!options_.redirect.empty()) {
      status_class = 1;
      status_detail = 1;
      say("TargetAddress", options_.redirect);
      transit = false;
    } else if (stage == 0) {
      if (keys.contains("AuthMethod")) {
        const bool chap = !proven && keys["AuthMethod"].find("CHAP") != std::string::npos;
        if (!proven && !chap) {
          status_class = 2;
          status_detail = 1;
        }
        say("AuthMethod", chap ? "CHAP" : "None");
        if (chap) transit = false;
      } else if (keys.contains("CHAP_A")) {
        const std::string list = "," + keys["CHAP_A"] + ",";
        algorithm = options_.chap_algorithm.empty() ? keys["CHAP_A"].substr(0, keys["CHAP_A"].find(',')) : options_.chap_algorithm;
        if (list.find("," + algorithm + ",") == std::string::npos) throw Gone{};
        for (int i = 0; i < 24; i++) challenge += static_cast<char>(std::rand());
        say("CHAP_A", algorithm);
        say("CHAP_I", "77");
        say("CHAP_C", hex(challenge));
        transit = false;
      } else if (keys.contains("CHAP_R")) {
        proven = keys["CHAP_N"] == options_.chap_user && unhex(keys["CHAP_R"]) == digest(kChapDigests.at(algorithm), 77, options_.chap_secret, challenge);
        if (!proven) {
          status_class = 2;
          status_detail = 1;
        } else if (keys.contains("CHAP_C")) {
          say("CHAP_N", options_.mutual_user);
          say("CHAP_R", hex(digest(kChapDigests.at(algorithm), static_cast<unsigned char>(std::stoi(keys["CHAP_I"])), options_.mutual_secret, unhex(keys["CHAP_C"]))));
        }
      }
    } else {
      if (!proven) {
        status_class = 2;
        status_detail = 1;
      }
      for (const char* key : {"HeaderDigest", "DataDigest"}) {
        if (!keys.contains(key)) continue;
        const bool use = options_.digests && keys[key].find("CRC32C") != std::string::npos;
        say(key, use ? "CRC32C" : "None");
      }
      if (keys.contains("MaxRecvDataSegmentLength")) {
        initiator_segment_ = static_cast<std::uint32_t>(std::stoul(keys["MaxRecvDataSegmentLength"]));
        say("MaxRecvDataSegmentLength", std::to_string(options_.max_recv_data_segment_length));
      }
      max_burst_ = least("MaxBurstLength", options_.max_burst_length);
      first_burst_ = std::min(max_burst_, least("FirstBurstLength", options_.first_burst_length));
      max_r2t_ = least("MaxOutstandingR2T", options_.max_outstanding_r2t);
      if (keys.contains("InitialR2T")) {
        initial_r2t_ = options_.initial_r2t || keys["InitialR2T"] == "Yes";
        say("InitialR2T", initial_r2t_ ? "Yes" : "No");
      }
      if (keys.contains("ImmediateData")) say("ImmediateData", options_.immediate_data && keys["ImmediateData"] == "Yes" ? "Yes" : "No");
      if (keys.contains("ErrorRecoveryLevel")) say("ErrorRecoveryLevel", "0");
      if (keys.contains("DefaultTime2Wait")) say("DefaultTime2Wait", "2");
      if (keys.contains("DefaultTime2Retain")) say("DefaultTime2Retain", "0");
      if (keys.contains("MaxConnections")) say("MaxConnections", "1");
    }
    unsigned char out[48] = {0x23, static_cast<unsigned char>((transit ? 0x80 : 0) | stage << 2 | (transit ? next : 0))};
    put24(out + 5, static_cast<std::uint32_t>(answer.size()));
    std::memcpy(out + 8, header + 8, 6);
    out[15] = transit && next == 3 ? 1 : 0;
    std::memcpy(out + 16, header + 16, 4);
    window(out, true);
    out[36] = status_class;
    out[37] = status_detail;
    put(out, reinterpret_cast<const unsigned char*>(answer.data()), answer.size());
    flush();
    if (status_class != 0) throw Gone{};
    if (transit && next == 3) {
      header_digest_ = options_.digests && keys.contains("HeaderDigest") && keys["HeaderDigest"].find("CRC32C") != std::string::npos;
      data_digest_ = options_.digests && keys.contains("DataDigest") && keys["DataDigest"].find("CRC32C") != std::string::npos;
      break;
    }
  }
  unit_attentions_ = options_.unit_attentions;
  if (!options_.store.empty()) {
    file_ = ::open((options_.store + "/" + name.substr(name.rfind(':') + 1) + ".img").c_str(), O_RDWR | O_CREAT, 0600);
    if (file_ < 0) throw Gone{};
  }
}

std::string Connection::misdeed() {
  const auto number = ++shared_.writes;
  for (const auto& fault : options_.faults) {
    if (number == fault.at || (fault.every > 0 && number > fault.at && (number - fault.at) % fault.every == 0)) return fault.kind;
  }
  return "";
}

void Connection::zero(std::uint64_t offset, std::uint64_t length) {
  if (file_ < 0) return;
  const std::vector<unsigned char> zeros(65536);
  while (length > 0) {
    const auto piece = std::min<std::uint64_t>(length, zeros.size());
    if (::pwrite(file_, zeros.data(), piece, static_cast<off_t>(offset)) < 0) throw Gone{};
    offset += piece;
    length -= piece;
  }
}

void Connection::respond(std::uint32_t itt, unsigned char status, const Bytes& sense_bytes, unsigned char response, std::uint32_t residual) {
  if (options_.delay_us > 0) {
    flush();
    std::this_thread::sleep_for(std::chrono::microseconds(options_.delay_us));
  }
  unsigned char header[48] = {0x21, static_cast<unsigned char>(0x80 | (residual > 0 ? 0x02 : 0)), response, status};
  put32(header + 16, itt);
  put32(header + 44, residual);
  Bytes data;
  if (!sense_bytes.empty()) {
    data = {0, static_cast<unsigned char>(sense_bytes.size())};
    data.insert(data.end(), sense_bytes.begin(), sense_bytes.end());
  }
  put24(header + 5, static_cast<std::uint32_t>(data.size()));
  window(header, true);
  put(header, data.data(), data.size());
}

void Connection::data_in(std::uint32_t itt, const Bytes& data, std::uint32_t room) {
  const auto length = std::min<std::uint32_t>(room, static_cast<std::uint32_t>(data.size()));
  std::uint32_t at = 0;
  std::uint32_t number = 0;
  do {
    const auto piece = std::min(length - at, initiator_segment_);
    const bool last = at + piece == length;
    unsigned char header[48] = {0x25, static_cast<unsigned char>(last ? 0x81 | (length < room ? 0x02 : 0) : 0)};
    put24(header + 5, piece);
    put32(header + 16, itt);
    put32(header + 20, 0xffffffff);
    window(header, last);
    if (!last) put32(header + 24, 0);
    put32(header + 36, number++);
    put32(header + 40, at);
    if (last) put32(header + 44, room - length);
    put(header, data.data() + at, piece);
    at += piece;
  } while (at < length);
}

void Connection::read(std::uint32_t itt, std::uint64_t offset, std::uint32_t length) {
  Bytes data(length);
  if (file_ >= 0 && ::pread(file_, data.data(), length, static_cast<off_t>(offset)) < 0) throw Gone{};
  if (options_.flip_read && ++shared_.reads % 100 == 0) data[length / 2] ^= 4;
  data_in(itt, data, length);
}

void Connection::on_command(const unsigned char* header, std::uint32_t data_length) {
  const auto itt = get32(header + 16);
  const auto expected = get32(header + 20);
  const auto* cdb = header + 32;
  if ((header[0] & 0x40) == 0) exp_cmd_sn_ = get32(header + 24) + 1;
  const auto block = options_.block_size;
  // WRITE(10) and READ(10), which others use on small disks, are their longer forms with other fields.
  const bool ten = cdb[0] == 0x2a || cdb[0] == 0x28;
  const int opcode = cdb[0] == 0x2a ? 0x8a : cdb[0] == 0x28 ? 0x88 : cdb[0];
  const std::uint64_t lba = ten ? get32(cdb + 2) : get64(cdb + 2);
  const std::uint32_t blocks = ten ? get16(cdb + 7) : get32(cdb + 10);
  const bool write_flag = (header[1] & 0x20) != 0;

  if (unit_attentions_ > 0 && opcode != 0x12) {
    unit_attentions_--;
    discard(data_length + (-data_length & 3u) + (data_length > 0 && data_digest_ ? 4 : 0));
    return respond(itt, 2, sense(6, 0x29, 0));
  }
  if (write_flag) {
    Task task;
    task.opcode = opcode;
    task.length = expected;
    if (opcode == 0x8a || opcode == 0x93) {
      task.offset = lba * block;
      task.cdb_blocks = blocks;
    }
    const bool known = opcode == 0x8a || (opcode == 0x93 && options_.write_same && ((cdb[1] & 8) == 0 || options_.write_same_unmap)) || (opcode == 0x42 && options_.unmap);
    if (!known) {
      task.drop = true;
      task.status = 2;
      task.sense = sense(5, opcode == 0x93 && options_.write_same ? 0x24 : 0x20, 0);
    } else if (opcode != 0x42 && (task.offset + std::uint64_t{task.cdb_blocks} * block > options_.size || task.cdb_blocks == 0)) {
      task.drop = true;
      task.status = 2;
      task.sense = sense(5, 0x21, 0);
    } else if (options_.max_transfer_blocks != 0 && opcode == 0x8a && task.cdb_blocks > options_.max_transfer_blocks) {
      task.drop = true;
      task.status = 2;
      task.sense = sense(5, 0x24, 0);
    } else if (options_.read_only) {
      task.drop = true;
      task.status = 2;
      task.sense = sense(7, 0x27, 0);
    } else if (const auto kind = misdeed(); !kind.empty()) {
      task.drop = true;
      unsigned key = 0, asc = 0, ascq = 0;
      if (std::sscanf(kind.c_str(), "check:%x/%x/%x", &key, &asc, &ascq) == 3) {
        task.status = 2;
        task.sense = sense(key, asc, ascq);
      } else if (kind == "busy") task.status = 0x08;
      else if (kind == "full") task.status = 0x28;
      else if (kind == "reserved") task.status = 0x18;
      else if (kind == "aborted") task.status = 0x40;
      else if (kind == "short") task.status = 0xfe;
      else if (kind == "response") task.status = 0xfd;
      else if (kind == "silent") {
        flush();
        std::this_thread::sleep_for(std::chrono::hours(1));
      } else if (kind == "ping") {
        task.drop = false;
        unsigned char ping[48] = {0x20, 0x80};
        put32(ping + 16, 0xffffffff);
        put32(ping + 20, 0x1234);
        window(ping, false);
        put(ping, nullptr, 0);
      } else if (kind == "leave") {
        task.drop = false;
        unsigned char message[48] = {0x32, 0x80};
        put32(message + 16, 0xffffffff);
        window(message, true);
        message[36] = 1;
        put(message, nullptr, 0);
      } else if (kind == "reject") {
        unsigned char reject[48] = {0x3f, 0x80, 0x09};
        put24(reject + 5, 48);
        put32(reject + 16, 0xffffffff);
        window(reject, true);
        put(reject, header, 48);
        flush();
        discard(data_length);
        return;
      } else {
        throw Gone{};  // drop
      }
    }
    auto& held = tasks_[itt] = std::move(task);
    take_data(held, 0, data_length);
    held.solicited = data_length;
    const bool final = (header[1] & 0x80) != 0;
    if (!final) held.solicited = std::min(first_burst_, held.length);  // unsolicited data follows
    if (final) solicit(itt, held);
    return;
  }
  discard(data_length + (-data_length & 3u));
  Bytes data;
  switch (opcode) {
    case 0x00:
      if (shared_.not_ready > 0) {
        shared_.not_ready--;
        return respond(itt, 2, sense(2, 4, 1));
      }
      return respond(itt, 0, {});
    case 0x12:
      if ((cdb[1] & 1) == 0) {
        data.assign(36, ' ');
        data[0] = 0;
        data[1] = 0;
        data[2] = 6;
        data[3] = 2;
        data[4] = 31;
        data[5] = data[6] = data[7] = 0;
      } else if (cdb[2] == 0x00) {
        data = {0, 0, 0, 3, 0x00, 0xb0, 0xb2};
      } else if (cdb[2] == 0xb0) {
        data.assign(64, 0);
        data[1] = 0xb0;
        data[3] = 60;
        put32(&data[8], options_.max_transfer_blocks);
        put32(&data[20], options_.unmap ? 65536 : 0);
        put32(&data[24], 1);
        put32(&data[28], options_.unmap_granularity);
        put64(&data[36], 100000);
      } else {
        data.assign(8, 0);
        data[1] = 0xb2;
        data[3] = 4;
        data[5] = static_cast<unsigned char>((options_.unmap ? 0x80 : 0) | (options_.write_same_unmap ? 0x40 : 0) | (options_.unmapped_reads_zero ? 0x04 : 0));
      }
      return data_in(itt, data, expected);
    case 0x9e:
      data.assign(32, 0);
      put64(&data[0], options_.size / block - 1);
      put32(&data[8], block);
      data[14] = static_cast<unsigned char>((options_.unmap || options_.write_same_unmap ? 0x80 : 0) | (options_.unmapped_reads_zero ? 0x40 : 0));
      return data_in(itt, data, expected);
    case 0x1a: data = {3, 0, static_cast<unsigned char>(options_.read_only ? 0x80 : 0), 0}; return data_in(itt, data, expected);
    case 0x88: return read(itt, lba * block, blocks * block);
    case 0x35:
    case 0x91: return respond(itt, 0, {});
    default: return respond(itt, 2, sense(5, 0x20, 0));
  }
}

void Connection::take_data(Task& task, std::uint32_t at, std::uint32_t length) {
  if (length == 0) return;
  const auto padding = -length & 3u;
  const bool to_disk = task.opcode == 0x8a;
  if (to_disk && (file_ < 0 || task.drop) && (!data_digest_ || !options_.check_digests)) {
    discard(length + padding + (data_digest_ ? 4 : 0));
  } else {
    scratch_.resize(length + padding + (data_digest_ ? 4 : 0));
    take(scratch_.data(), scratch_.size());
    if (data_digest_) {
      unsigned char expected[4];
      put_digest(expected, crc32c(scratch_.data(), length + padding));
      if (std::memcmp(expected, &scratch_[length + padding], 4) != 0) throw Gone{};
    }
    if (!to_disk) {
      task.parameters.resize(std::max<std::size_t>(task.parameters.size(), at + length));
      std::memcpy(&task.parameters[at], scratch_.data(), length);
    } else if (file_ >= 0 && !task.drop && ::pwrite(file_, scratch_.data(), length, static_cast<off_t>(task.offset + at)) != static_cast<ssize_t>(length)) {
      throw Gone{};
    }
  }
  task.received += length;
}

void Connection::on_data_out(const unsigned char* header, std::uint32_t data_length) {
  const auto itt = get32(header + 16);
  const auto found = tasks_.find(itt);
  if (found == tasks_.end()) throw Gone{};
  auto& task = found->second;
  const auto at = get32(header + 40);
  if (at != task.received || data_length > task.length - task.received || data_length > options_.max_recv_data_segment_length) throw Gone{};
  take_data(task, at, data_length);
  if ((header[1] & 0x80) != 0) solicit(itt, task);
}

void Connection::solicit(std::uint32_t itt, Task& task) {
  if (task.received >= task.length) return finish(itt, task);
  if (task.received < task.solicited) return;  // another R2T's data is still to come
  for (std::uint32_t outstanding = 0; outstanding < max_r2t_ && task.solicited < task.length; outstanding++) {
    const auto length = std::min(max_burst_, task.length - task.solicited);
    unsigned char header[48] = {0x31, 0x80};
    put32(header + 16, itt);
    put32(header + 20, itt ^ 0x5a5a5a5a);
    window(header, false);
    put32(header + 36, task.r2t_sn++);
    put32(header + 40, task.solicited);
    put32(header + 44, length);
    put(header, nullptr, 0);
    task.solicited += length;
  }
}

void Connection::finish(std::uint32_t itt, Task& task) {
  if (!task.drop && task.opcode == 0x93) zero(task.offset, std::uint64_t{task.cdb_blocks} * options_.block_size);
  if (!task.drop && task.opcode == 0x42 && task.parameters.size() >= 24) {
    // Unmaps whole granules only, as a thin disk does: the edges keep what they had.
    const std::uint64_t granule = std::max<std::uint64_t>(1, options_.unmap_granularity);
    const std::uint64_t lba = get64(&task.parameters[8]);
    const std::uint64_t end = lba + get32(&task.parameters[16]);
    const auto first = (lba + granule - 1) / granule * granule;
    const auto last = end / granule * granule;
    if (first < last) zero(first * options_.block_size, (last - first) * options_.block_size);
  }
  const auto status = task.status;
  const auto sense_bytes = std::move(task.sense);
  tasks_.erase(itt);
  if (status == 0xfe) return respond(itt, 0, {}, 0, 512);
  if (status == 0xfd) return respond(itt, 0, {}, 1);
  respond(itt, status, sense_bytes);
}

}  // namespace target
