#include "iscsi/scsi.hpp"

#include <algorithm>
#include <cstdio>

#include "bytes/byte_reader.hpp"

namespace ironrack::iscsi {
namespace {

std::unexpected<Fault> too_short(const char* what) { return fail(FaultKind::malformed, "scsi.data-short", std::string("the target's ") + what + " is too short"); }

Cdb opcode(std::uint8_t code) {
  Cdb cdb{};
  cdb[0] = static_cast<std::byte>(code);
  return cdb;
}

Cdb with_range(std::uint8_t code, std::uint64_t lba, std::uint32_t blocks) {
  Cdb cdb = opcode(code);
  store_be(&cdb[2], lba);
  store_be(&cdb[10], blocks);
  return cdb;
}

const char* key_name(SenseKey key) {
  switch (key) {
    case SenseKey::no_sense: return "NO SENSE";
    case SenseKey::recovered_error: return "RECOVERED ERROR";
    case SenseKey::not_ready: return "NOT READY";
    case SenseKey::medium_error: return "MEDIUM ERROR";
    case SenseKey::hardware_error: return "HARDWARE ERROR";
    case SenseKey::illegal_request: return "ILLEGAL REQUEST";
    case SenseKey::unit_attention: return "UNIT ATTENTION";
    case SenseKey::data_protect: return "DATA PROTECT";
    case SenseKey::blank_check: return "BLANK CHECK";
    case SenseKey::aborted_command: return "ABORTED COMMAND";
    case SenseKey::volume_overflow: return "VOLUME OVERFLOW";
    case SenseKey::miscompare: return "MISCOMPARE";
  }
  return "SENSE KEY UNKNOWN";
}

std::string trimmed(ByteSpan bytes) {
  std::string text;
  for (const auto byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    text += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '.';
  }
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

}  // namespace

Result<Sense> decode_sense(ByteSpan bytes) {
  if (bytes.size() < 8) return too_short("sense data");
  const auto format = static_cast<std::uint8_t>(bytes[0]) & 0x7f;
  Sense sense;
  if (format == 0x70 || format == 0x71) {
    ByteReader reader(bytes);
    const bool valid = (reader.u8() & 0x80) != 0;
    reader.skip(1);
    sense.key = static_cast<SenseKey>(reader.u8() & 0x0f);
    const auto information = reader.u32();
    if (valid) sense.information = information;
    reader.skip(1 + 4);  // additional length, command specific information
    sense.asc = reader.u8();
    sense.ascq = reader.u8();
    if (!reader.complete()) sense.asc = sense.ascq = 0;
    return sense;
  }
  if (format == 0x72 || format == 0x73) {
    ByteReader reader(bytes);
    reader.skip(1);
    sense.key = static_cast<SenseKey>(reader.u8() & 0x0f);
    sense.asc = reader.u8();
    sense.ascq = reader.u8();
    reader.skip(3);
    ByteReader descriptors(reader.bytes(std::min<std::size_t>(reader.remaining() == 0 ? 0 : reader.u8(), reader.remaining())));
    while (descriptors.remaining() >= 2) {
      const auto type = descriptors.u8();
      ByteReader body(descriptors.bytes(descriptors.u8()));
      if (type == 0 && body.remaining() >= 10) {
        const bool valid = (body.u8() & 0x80) != 0;
        body.skip(1);
        if (valid) sense.information = body.u64();
      }
    }
    return sense;
  }
  return fail(FaultKind::malformed, "scsi.sense-format", "the target's sense data has an unknown format");
}

std::string describe(const Sense& sense) {
  char codes[16];
  std::snprintf(codes, sizeof codes, " %02xh/%02xh", sense.asc, sense.ascq);
  return key_name(sense.key) + std::string(codes);
}

Cdb test_unit_ready() { return opcode(0x00); }

Cdb inquiry(std::uint16_t allocation_length) {
  Cdb cdb = opcode(0x12);
  store_be(&cdb[3], allocation_length);
  return cdb;
}

Cdb inquiry_page(std::uint8_t page, std::uint16_t allocation_length) {
  Cdb cdb = inquiry(allocation_length);
  cdb[1] = std::byte{1};
  cdb[2] = static_cast<std::byte>(page);
  return cdb;
}

Cdb read_capacity_16(std::uint32_t allocation_length) {
  Cdb cdb = opcode(0x9e);
  cdb[1] = std::byte{0x10};
  store_be(&cdb[10], allocation_length);
  return cdb;
}

Cdb read_capacity_10() { return opcode(0x25); }

Cdb mode_sense_6(std::uint8_t allocation_length) {
  Cdb cdb = opcode(0x1a);
  cdb[2] = std::byte{0x3f};  // all pages: only the header is of interest
  cdb[4] = static_cast<std::byte>(allocation_length);
  return cdb;
}

Cdb write_16(std::uint64_t lba, std::uint32_t blocks) { return with_range(0x8a, lba, blocks); }
Cdb read_16(std::uint64_t lba, std::uint32_t blocks) { return with_range(0x88, lba, blocks); }

Cdb write_same_16(std::uint64_t lba, std::uint32_t blocks, bool unmap) {
  Cdb cdb = with_range(0x93, lba, blocks);
  if (unmap) cdb[1] = std::byte{0x08};
  return cdb;
}

Cdb unmap(std::uint16_t parameter_length) {
  Cdb cdb = opcode(0x42);
  store_be(&cdb[7], parameter_length);
  return cdb;
}

Cdb synchronize_cache_16() { return opcode(0x91); }
Cdb synchronize_cache_10() { return opcode(0x35); }

std::vector<std::byte> unmap_parameters(std::uint64_t lba, std::uint32_t blocks) {
  std::vector<std::byte> list(24);
  store_be<std::uint16_t>(&list[0], 22);  // bytes that follow this field
  store_be<std::uint16_t>(&list[2], 16);  // one descriptor
  store_be(&list[8], lba);
  store_be(&list[16], blocks);
  return list;
}

Result<Inquiry> decode_inquiry(ByteSpan bytes) {
  if (bytes.size() < 36) return too_short("INQUIRY");
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  return Inquiry{static_cast<std::uint8_t>(first >> 5), static_cast<std::uint8_t>(first & 0x1f), trimmed(bytes.subspan(8, 8)), trimmed(bytes.subspan(16, 16))};
}

namespace {

Result<Capacity> checked(std::uint64_t last_lba, std::uint32_t block_size, std::uint8_t provisioning) {
  if (block_size < 512 || block_size > 65536 || (block_size & (block_size - 1)) != 0) {
    return std::unexpected(Fault{FaultKind::unsupported, "scsi.block-size", "the disk's block size is not a power of two from 512 to 65536", Retry::never, {}}.with("block_size", std::uint64_t{block_size}));
  }
  if (last_lba >= UINT64_MAX / block_size) return fail(FaultKind::malformed, "scsi.capacity", "the disk states an impossible size");
  return Capacity{last_lba + 1, block_size, (provisioning & 0x80) != 0, (provisioning & 0x40) != 0};
}

}  // namespace

Result<Capacity> decode_capacity_16(ByteSpan bytes) {
  if (bytes.size() < 12) return too_short("READ CAPACITY(16)");
  ByteReader reader(bytes);
  const auto last_lba = reader.u64();
  const auto block_size = reader.u32();
  return checked(last_lba, block_size, bytes.size() > 14 ? static_cast<std::uint8_t>(bytes[14]) : std::uint8_t{0});
}

Result<Capacity> decode_capacity_10(ByteSpan bytes) {
  if (bytes.size() < 8) return too_short("READ CAPACITY(10)");
  ByteReader reader(bytes);
  const auto last_lba = reader.u32();
  return checked(last_lba, reader.u32(), 0);
}

Result<BlockLimits> decode_block_limits(ByteSpan bytes) {
  if (bytes.size() < 16) return too_short("Block Limits page");
  // Older devices return a shorter page; what is not there states no limit.
  const auto u32 = [&](std::size_t at) { return bytes.size() >= at + 4 ? load_be<std::uint32_t>(&bytes[at]) : 0u; };
  BlockLimits limits;
  limits.maximum_transfer_blocks = u32(8);
  limits.maximum_unmap_blocks = u32(20);
  limits.maximum_unmap_descriptors = u32(24);
  limits.unmap_granularity = u32(28);
  const auto alignment = u32(32);
  if (alignment & 0x80000000u) limits.unmap_alignment = alignment & 0x7fffffffu;
  if (bytes.size() >= 44) limits.maximum_write_same_blocks = load_be<std::uint64_t>(&bytes[36]);
  return limits;
}

Result<Provisioning> decode_provisioning(ByteSpan bytes) {
  if (bytes.size() < 6) return too_short("Logical Block Provisioning page");
  const auto flags = static_cast<std::uint8_t>(bytes[5]);
  return Provisioning{(flags & 0x80) != 0, (flags & 0x40) != 0, (flags & 0x1c) != 0};
}

std::vector<std::uint8_t> decode_supported_pages(ByteSpan bytes) {
  std::vector<std::uint8_t> pages;
  if (bytes.size() < 4) return pages;
  const std::size_t count = std::min<std::size_t>(load_be<std::uint16_t>(&bytes[2]), bytes.size() - 4);
  for (std::size_t i = 0; i < count; i++) pages.push_back(static_cast<std::uint8_t>(bytes[4 + i]));
  return pages;
}

std::string decode_serial(ByteSpan bytes) {
  if (bytes.size() < 4) return "";
  return trimmed(bytes.subspan(4, std::min<std::size_t>(load_be<std::uint16_t>(&bytes[2]), bytes.size() - 4)));
}

bool decode_write_protect(ByteSpan bytes) { return bytes.size() >= 4 && (static_cast<std::uint8_t>(bytes[2]) & 0x80) != 0; }

}  // namespace ironrack::iscsi
