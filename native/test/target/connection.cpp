#include "test/target/connection.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <thread>

#include "test/target/wire.hpp"

namespace target {
namespace {

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

}  // namespace

Connection::~Connection() {
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
        case 0x02: on_task_management(header); break;
        case 0x04: on_text(header, data_length); break;
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

std::string Connection::misdeed() {
  const auto number = ++shared_.writes;
  for (const auto& fault : options_.faults) {
    if (number == fault.at || (fault.every > 0 && number > fault.at && (number - fault.at) % fault.every == 0)) return fault.kind;
  }
  return "";
}

void Connection::zero(std::uint64_t offset, std::uint64_t length) {
  if (disk_ != nullptr && disk_->keeps() && !disk_->zero(offset, length)) throw Gone{};
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
  if (!disk_->read(data.data(), length, offset)) throw Gone{};
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
      else if (kind == "stall") task.stall = true;
      else if (kind == "silent") {
        flush();
        std::puts("silent");  // whoever started us waits for it
        std::fflush(stdout);
        std::this_thread::sleep_for(std::chrono::hours(1));
      } else if (kind == "ping") {
        task.drop = false;
        unsigned char ping[48] = {0x20, 0x80};
        put32(ping + 16, 0xffffffff);
        put32(ping + 20, 0x1234);
        window(ping, false);
        put(ping, nullptr, 0);
      } else if (unsigned event = 0; std::sscanf(kind.c_str(), "async:%u", &event) == 1) {
        task.drop = false;
        unsigned char message[48] = {0x32, 0x80};
        put32(message + 16, 0xffffffff);
        window(message, true);
        message[36] = static_cast<unsigned char>(event);
        message[43] = event == 1 ? 3 : 0;  // Parameter3: seconds within which a logout is wanted
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
    case 0x91:
      if (!disk_->synchronize()) throw Gone{};
      return respond(itt, 0, {});
    default: return respond(itt, 2, sense(5, 0x20, 0));
  }
}

void Connection::take_data(Task& task, std::uint32_t at, std::uint32_t length) {
  if (length == 0) return;
  const auto padding = -length & 3u;
  const bool to_disk = task.opcode == 0x8a;
  if (to_disk && (!disk_->keeps() || task.drop) && (!data_digest_ || !options_.check_digests)) {
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
    } else if (!task.drop && !disk_->write(scratch_.data(), length, task.offset + at)) {
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

void Connection::on_task_management(const unsigned char* header) {
  const auto referenced = get32(header + 20);
  const bool refuses = options_.refuse_abort;
  const bool known = tasks_.contains(referenced) && (header[1] & 0x7f) == 1;
  if (!refuses) tasks_.erase(referenced);
  unsigned char answer[48] = {0x22, 0x80, static_cast<unsigned char>(refuses ? 5 : known ? 0 : 1)};
  std::memcpy(answer + 16, header + 16, 4);
  window(answer, true);
  put(answer, nullptr, 0);
}

/// SendTargets=All of a discovery session; in two pieces, as a target with many names would.
void Connection::on_text(const unsigned char* header, std::uint32_t data_length) {
  Bytes text(data_length);
  take(text.data(), data_length);
  discard(-data_length & 3u);
  const bool first = get32(header + 20) == 0xffffffff;
  const std::string names = first ? std::string("TargetName=iqn.2026-01.test:one\0TargetAddress=127.0.0.1:3260,1\0Target", 69)
                                  : std::string("Address=[::1]:3261,1\0TargetName=iqn.2026-01.test:two\0", 53);
  unsigned char answer[48] = {0x24, static_cast<unsigned char>(first ? 0x40 : 0x80)};
  put24(answer + 5, static_cast<std::uint32_t>(names.size()));
  std::memcpy(answer + 16, header + 16, 4);
  put32(answer + 20, first ? 0x77 : 0xffffffff);
  window(answer, true);
  put(answer, reinterpret_cast<const unsigned char*>(names.data()), names.size());
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
  if (task.stall) return;  // until it is aborted
  const auto status = task.status;
  const auto sense_bytes = std::move(task.sense);
  tasks_.erase(itt);
  if (status == 0xfe) return respond(itt, 0, {}, 0, 512);
  if (status == 0xfd) return respond(itt, 0, {}, 1);
  respond(itt, status, sense_bytes);
}

}  // namespace target
