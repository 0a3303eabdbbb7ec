// SCSI commands and answers that disk writing needs: SPC-5 and SBC-4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "iscsi/pdu.hpp"

namespace ironrack::iscsi {

enum class ScsiStatus : std::uint8_t { good = 0x00, check_condition = 0x02, condition_met = 0x04, busy = 0x08, reservation_conflict = 0x18, task_set_full = 0x28, aca_active = 0x30, task_aborted = 0x40 };

enum class SenseKey : std::uint8_t {
  no_sense = 0x0, recovered_error = 0x1, not_ready = 0x2, medium_error = 0x3, hardware_error = 0x4, illegal_request = 0x5, unit_attention = 0x6,
  data_protect = 0x7, blank_check = 0x8, aborted_command = 0xb, volume_overflow = 0xd, miscompare = 0xe,
};

struct Sense {
  SenseKey key = SenseKey::no_sense;
  std::uint8_t asc = 0;
  std::uint8_t ascq = 0;
  std::optional<std::uint64_t> information;  // of medium errors: the LBA
};

/// Sense in fixed (70h, 71h) or descriptor (72h, 73h) format, SPC-5 §4.4.
Result<Sense> decode_sense(ByteSpan bytes);

/// "MEDIUM ERROR 11h/00h".
std::string describe(const Sense& sense);

Cdb test_unit_ready();
Cdb inquiry(std::uint16_t allocation_length);
Cdb inquiry_page(std::uint8_t page, std::uint16_t allocation_length);
Cdb read_capacity_16(std::uint32_t allocation_length);
Cdb read_capacity_10();
Cdb mode_sense_6(std::uint8_t allocation_length);
Cdb write_16(std::uint64_t lba, std::uint32_t blocks);
Cdb read_16(std::uint64_t lba, std::uint32_t blocks);
Cdb write_same_16(std::uint64_t lba, std::uint32_t blocks, bool unmap);
Cdb unmap(std::uint16_t parameter_length);
Cdb synchronize_cache_16();
Cdb synchronize_cache_10();

/// The parameter list of UNMAP with one descriptor, SBC-4 §5.35.
std::vector<std::byte> unmap_parameters(std::uint64_t lba, std::uint32_t blocks);

struct Inquiry {
  std::uint8_t qualifier = 0;
  std::uint8_t device_type = 0;
  std::string vendor;
  std::string product;
};
Result<Inquiry> decode_inquiry(ByteSpan bytes);

struct Capacity {
  std::uint64_t blocks = 0;
  std::uint32_t block_size = 0;
  bool provisioning_managed = false;  // LBPME
  bool unmapped_reads_zero = false;   // LBPRZ
};
Result<Capacity> decode_capacity_16(ByteSpan bytes);
Result<Capacity> decode_capacity_10(ByteSpan bytes);

/// Block Limits, B0h; zero means that the device states no limit.
struct BlockLimits {
  std::uint32_t maximum_transfer_blocks = 0;
  std::uint32_t maximum_unmap_blocks = 0;
  std::uint32_t maximum_unmap_descriptors = 0;
  std::uint32_t unmap_granularity = 0;
  std::uint32_t unmap_alignment = 0;
  std::uint64_t maximum_write_same_blocks = 0;
};
Result<BlockLimits> decode_block_limits(ByteSpan bytes);

/// Logical Block Provisioning, B2h.
struct Provisioning {
  bool unmap = false;             // LBPU
  bool write_same_unmap = false;  // LBPWS
  bool unmapped_reads_zero = false;
};
Result<Provisioning> decode_provisioning(ByteSpan bytes);

/// The pages that INQUIRY page 00h lists.
std::vector<std::uint8_t> decode_supported_pages(ByteSpan bytes);

/// The text of the Unit Serial Number page, 80h; empty when there is none.
std::string decode_serial(ByteSpan bytes);

/// The WP bit of a MODE SENSE(6) header of a block device.
bool decode_write_protect(ByteSpan bytes);

}  // namespace ironrack::iscsi
