#include "ata_security.hpp"

#include "bytes.hpp"

#include <algorithm>
#include <array>
#include <scsi/sg.h>
#include <sys/ioctl.h>

namespace agent {

namespace {

constexpr std::uint8_t identify_device = 0xec;
constexpr std::uint8_t security_set_password = 0xf1;
constexpr std::uint8_t security_erase_prepare = 0xf3;
constexpr std::uint8_t security_erase_unit = 0xf4;
constexpr std::uint8_t security_disable_password = 0xf6;

constexpr std::uint8_t protocol_no_data = 3;  // SAT-3 table 135
constexpr std::uint8_t protocol_pio_in = 4;
constexpr std::uint8_t protocol_pio_out = 5;
constexpr unsigned ordinary_timeout_ms = 15'000;

// Only to satisfy the command set: the erase itself takes the password off again.
constexpr std::string_view erase_password = "ironrack";

Result<void> pass_through(const BlockDevice& disk, std::uint8_t command, std::uint8_t protocol, std::span<std::uint8_t> data, unsigned timeout_ms)
{
    const bool has_data = !data.empty();
    const bool is_in = protocol == protocol_pio_in;
    std::array<std::uint8_t, 16> cdb{};
    cdb[0] = 0x85;  // ATA PASS-THROUGH (16)
    cdb[1] = static_cast<std::uint8_t>(protocol << 1);
    // T_LENGTH 2: in the sector count; BYT_BLOK: blocks; T_DIR; CK_COND where no data says whether it worked
    cdb[2] = static_cast<std::uint8_t>(has_data ? (is_in ? 0x0e : 0x06) : 0x20);
    cdb[6] = has_data ? 1 : 0;
    cdb[14] = command;
    std::array<std::uint8_t, 32> sense{};
    sg_io_hdr_t io{};
    io.interface_id = 'S';
    io.dxfer_direction = !has_data ? SG_DXFER_NONE : is_in ? SG_DXFER_FROM_DEV : SG_DXFER_TO_DEV;
    io.cmd_len = cdb.size();
    io.cmdp = cdb.data();
    io.dxfer_len = static_cast<unsigned>(data.size());
    io.dxferp = data.data();
    io.mx_sb_len = sense.size();
    io.sbp = sense.data();
    io.timeout = timeout_ms;
    if (::ioctl(disk.descriptor(), SG_IO, &io) != 0) {
        return fail(FaultKind::unsupported, "no SCSI pass-through");
    }
    if (io.host_status != 0) {
        return fail(FaultKind::storage, "ATA command: host status " + std::to_string(io.host_status));
    }
    // With CK_COND the answer is sense data in descriptor form with the ATA status in its return descriptor (type 9).
    if (sense[0] == 0x72 && sense[8] == 0x09) {
        const std::uint8_t status = sense[21];
        return (status & 0x21) == 0 ? Result<void>() : fail(FaultKind::storage, "ATA command: status " + std::to_string(status) + ", error " + std::to_string(sense[11]));
    }
    if (io.status != 0) {
        const bool illegal = (sense[0] == 0x72 ? sense[1] & 15 : sense[2] & 15) == 5;
        return fail(illegal ? FaultKind::unsupported : FaultKind::storage, "ATA command refused");
    }
    return {};
}

/* Password block (ATA8-ACS table 42): word 0 bit 0: 1 = master password; bit 1: 1 = enhanced erase; words 1-16 password */
std::array<std::uint8_t, 512> password_block(bool enhanced)
{
    std::array<std::uint8_t, 512> block{};
    block[0] = enhanced ? 2 : 0;
    std::ranges::copy(erase_password, block.begin() + 2);
    return block;
}

std::uint32_t minutes_in(std::uint16_t word)
{
    // Bit 15 set: 15 bits of two-minute units; else 8 bits, of which 255 means more than 508 minutes.
    return (word & 0x8000) != 0 ? (word & 0x7fffU) * 2 : (word & 0xffU) * 2;
}

}  // namespace

AtaSecurity AtaSecurity::parse(std::span<const std::uint8_t, 512> identify)
{
    const auto word = [&](std::size_t number) { return little_endian<std::uint16_t>(identify, number * 2); };
    const std::uint16_t status = word(128);
    AtaSecurity security;
    security.is_ata = (word(0) & 0x8000) == 0;
    security.supported = (word(82) & 2) != 0 && (status & 1) != 0;
    security.enabled = (status & 2) != 0;
    security.locked = (status & 4) != 0;
    security.frozen = (status & 8) != 0;
    security.enhanced_erase = (status & 32) != 0;
    security.erase_minutes = minutes_in(word(security.enhanced_erase ? 90 : 89));
    return security;
}

Result<void> erase_ata(const BlockDevice& disk)
{
    if (!disk.is_block()) {
        return fail(FaultKind::unsupported, "no ATA drive");
    }
    std::array<std::uint8_t, 512> identify{};
    if (const auto identified = pass_through(disk, identify_device, protocol_pio_in, identify, ordinary_timeout_ms); !identified) {
        return fail(FaultKind::unsupported, "no ATA drive: " + identified.error().message);
    }
    const AtaSecurity security = AtaSecurity::parse(identify);
    if (!security.is_ata || !security.supported) {
        return fail(FaultKind::unsupported, "the drive has no security feature set");
    }
    if (security.frozen || security.locked || security.enabled) {
        return fail(FaultKind::unsupported, security.frozen ? "the firmware froze the drive's security" : "the drive has a password already");
    }
    auto block = password_block(false);
    if (auto set = pass_through(disk, security_set_password, protocol_pio_out, block, ordinary_timeout_ms); !set) {
        return fail(set.error(), "SECURITY SET PASSWORD");
    }
    auto erased = pass_through(disk, security_erase_prepare, protocol_no_data, {}, ordinary_timeout_ms);
    if (erased) {
        block = password_block(security.enhanced_erase);
        // Twice the drive's estimate, and never less than an hour nor more than two days.
        const std::uint32_t minutes = std::clamp<std::uint32_t>(security.erase_minutes * 2, 60, 2 * 24 * 60);
        erased = pass_through(disk, security_erase_unit, protocol_pio_out, block, minutes * 60 * 1000);
    }
    if (!erased) {
        block = password_block(false);
        const auto disabled = pass_through(disk, security_disable_password, protocol_pio_out, block, ordinary_timeout_ms);
        return fail(FaultKind::storage, "SECURITY ERASE UNIT: " + erased.error().message + (disabled ? "" : "; the drive keeps the password 'ironrack'"));
    }
    return {};
}

}  // namespace agent
