#include "efi_boot_entry.hpp"

#include "file.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace agent {

namespace {

constexpr const char* global_variables = "8be4df61-93ca-11d2-aa0d-00e098032b8c";  // EFI_GLOBAL_VARIABLE, §3.3
constexpr std::uint32_t kept_attributes = 7;  // non-volatile, boot services, runtime

constexpr std::uint8_t media_device_path = 0x04;
constexpr std::uint8_t hard_drive_node = 0x01;
constexpr std::uint8_t file_path_node = 0x04;

std::string variable_path(const Machine& machine, const std::string& name) { return machine.efivars + "/" + name + "-" + global_variables; }

// efivarfs: four bytes of attributes, then the value.
std::optional<Bytes> read_variable(const Machine& machine, const std::string& name)
{
    const auto file = read_file(variable_path(machine, name));
    if (!file || file->size() < 4) {
        return std::nullopt;
    }
    return Bytes(file->begin() + 4, file->end());
}

// efivarfs protects most variables from a careless `rm -r` with the immutable flag.
void make_mutable(const std::string& path)
{
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    if (file && ::ioctl(file.get(), FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_IMMUTABLE_FL) != 0) {
        flags &= ~FS_IMMUTABLE_FL;
        ::ioctl(file.get(), FS_IOC_SETFLAGS, &flags);
    }
}

Result<void> write_variable(const Machine& machine, const std::string& name, const Bytes& value)
{
    const std::string path = variable_path(machine, name);
    make_mutable(path);
    Bytes file;
    append_little_endian(file, kept_attributes);
    file.insert(file.end(), value.begin(), value.end());
    const Descriptor open(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!open) {
        return fail_errno("opening the variable " + name);
    }
    // On efivarfs one write(2) is one SetVariable and replaces the whole value; a test's plain file must be emptied.
    struct statfs filesystem {};
    if (::fstatfs(open.get(), &filesystem) == 0 && filesystem.f_type != EFIVARFS_MAGIC && ::ftruncate(open.get(), 0) != 0) {
        return fail_errno("emptying the variable " + name);
    }
    if (::write(open.get(), file.data(), file.size()) != static_cast<ssize_t>(file.size())) {
        return fail_errno("writing the variable " + name);
    }
    return {};
}

Result<void> remove_variable(const Machine& machine, const std::string& name)
{
    const std::string path = variable_path(machine, name);
    make_mutable(path);
    if (::unlink(path.c_str()) != 0) {
        return fail_errno("removing the variable " + name);
    }
    return {};
}

std::string entry_name(std::uint16_t number)
{
    char name[16];
    std::snprintf(name, sizeof name, "Boot%04X", number);
    return name;
}

// Numbers of all Boot#### variables.
std::vector<std::uint16_t> entry_numbers(const Machine& machine)
{
    std::vector<std::uint16_t> numbers;
    for (const std::string& file : entries_of(machine.efivars)) {
        if (file.size() != 45 || !file.starts_with("Boot") || file.substr(9) != global_variables) {
            continue;
        }
        const std::string digits = file.substr(4, 4);
        if (std::ranges::all_of(digits, [](unsigned char c) { return std::isxdigit(c) != 0; })) {
            numbers.push_back(static_cast<std::uint16_t>(std::stoul(digits, nullptr, 16)));
        }
    }
    return numbers;
}

std::vector<std::uint16_t> read_boot_order(const Machine& machine)
{
    const Bytes value = read_variable(machine, "BootOrder").value_or(Bytes{});
    std::vector<std::uint16_t> order;
    for (std::size_t i = 0; i + 2 <= value.size(); i += 2) {
        order.push_back(little_endian<std::uint16_t>(value, i));
    }
    return order;
}

}  // namespace

/* EFI_LOAD_OPTION (§3.1.3): 0 attributes | 4 length of the path list | 6 description, UTF-16, NUL | path list | optional data */
Bytes encode_load_option(const LoadOption& option)
{
    Bytes out;
    append_little_endian(out, option.attributes);
    append_little_endian(out, static_cast<std::uint16_t>(option.path_list.size()));
    const Bytes description = to_utf16(option.description);
    out.insert(out.end(), description.begin(), description.end());
    out.insert(out.end(), {0, 0});
    out.insert(out.end(), option.path_list.begin(), option.path_list.end());
    out.insert(out.end(), option.optional_data.begin(), option.optional_data.end());
    return out;
}

Result<LoadOption> decode_load_option(std::span<const std::uint8_t> bytes)
{
    if (bytes.size() < 8) {
        return fail(FaultKind::malformed, "a load option of " + std::to_string(bytes.size()) + " bytes");
    }
    LoadOption option;
    option.attributes = little_endian<std::uint32_t>(bytes, 0);
    const std::size_t path_size = little_endian<std::uint16_t>(bytes, 4);
    std::size_t end = 6;
    while (end + 2 <= bytes.size() && little_endian<std::uint16_t>(bytes, end) != 0) {
        end += 2;
    }
    if (end + 2 > bytes.size() || path_size > bytes.size() - end - 2) {
        return fail(FaultKind::malformed, "a load option that ends early");
    }
    option.description = from_utf16(bytes.subspan(6, end - 6));
    const auto path = bytes.subspan(end + 2, path_size);
    option.path_list.assign(path.begin(), path.end());
    const auto rest = bytes.subspan(end + 2 + path_size);
    option.optional_data.assign(rest.begin(), rest.end());
    return option;
}

/* Hard drive node (§10.3.5.1): type 4 | subtype 1 | length 42 | partition number u32 | first LBA u64 | sectors u64 |
 *   signature 16 | format (1 MBR, 2 GPT) | signature type (1 MBR, 2 GUID)
 * File path node (§10.3.5.4): type 4 | subtype 4 | length | path, UTF-16, NUL
 * End of the whole path (§10.3.1): 7F FF 04 00 */
Bytes hard_drive_path(const PartitionTable& table, const Partition& partition, const std::string& loader)
{
    const bool is_gpt = table.kind == PartitionTable::Kind::gpt;
    Bytes out = {media_device_path, hard_drive_node};
    append_little_endian(out, std::uint16_t{42});
    append_little_endian(out, partition.number);
    append_little_endian(out, partition.first_lba);
    append_little_endian(out, partition.sectors);
    if (is_gpt) {
        out.insert(out.end(), partition.unique.begin(), partition.unique.end());
    } else {
        append_little_endian(out, table.mbr_signature);
        out.insert(out.end(), 12, 0);
    }
    const std::uint8_t format = is_gpt ? 2 : 1;
    out.insert(out.end(), {format, format});

    const Bytes path = to_utf16(loader);
    out.insert(out.end(), {media_device_path, file_path_node});
    append_little_endian(out, static_cast<std::uint16_t>(4 + path.size() + 2));
    out.insert(out.end(), path.begin(), path.end());
    out.insert(out.end(), {0, 0});
    out.insert(out.end(), {0x7f, 0xff, 0x04, 0x00});
    return out;
}

Result<std::string> install_boot_entry(const Machine& machine, Log& log, const LoadOption& option, const std::string& replaced_prefix)
{
    if (entries_of(machine.efivars).empty()) {
        return fail(FaultKind::unsupported, "no UEFI variables in " + machine.efivars);
    }
    std::set<std::uint16_t> used;
    std::set<std::uint16_t> removed;
    for (const std::uint16_t number : entry_numbers(machine)) {
        const auto value = read_variable(machine, entry_name(number));
        const auto present = value ? decode_load_option(*value) : fail(FaultKind::malformed, "unreadable");
        if (present && present->description.starts_with(replaced_prefix)) {
            if (auto gone = remove_variable(machine, entry_name(number)); !gone) {
                return std::unexpected(gone.error());
            }
            removed.insert(number);
            log.info("boot-entry.removed", {{"entry", entry_name(number)}, {"description", present->description}});
        } else {
            used.insert(number);
        }
    }
    std::uint16_t number = 0;
    while (used.contains(number)) {
        if (++number == 0xffff) {
            return fail(FaultKind::storage, "no free boot entry");
        }
    }
    if (auto written = write_variable(machine, entry_name(number), encode_load_option(option)); !written) {
        return std::unexpected(written.error());
    }
    std::vector<std::uint16_t> order = {number};
    for (const std::uint16_t old : read_boot_order(machine)) {
        if (old != number && !removed.contains(old)) {
            order.push_back(old);
        }
    }
    Bytes value;
    for (const std::uint16_t entry : order) {
        append_little_endian(value, entry);
    }
    if (auto written = write_variable(machine, "BootOrder", value); !written) {
        return std::unexpected(written.error());
    }
    // Read back: some firmware takes a write and keeps the old value.
    const auto now = read_boot_order(machine);
    if (now.empty() || now.front() != number) {
        return fail(FaultKind::storage, "the firmware did not keep the new BootOrder");
    }
    log.info("boot-entry.installed", {{"entry", entry_name(number)}, {"description", option.description}});
    return entry_name(number);
}

}  // namespace agent
