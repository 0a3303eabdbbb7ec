// Hostile input: mutated requests, tables and volumes. Run under sanitizers; a crash or a report is the failure.
// Seed: AGENT_FUZZ_SEED, or the clock; printed, so that a failure can be repeated. Rounds: AGENT_FUZZ_ROUNDS.
#include "expect.hpp"

#include "api_client.hpp"
#include "base64.hpp"
#include "command_queue.hpp"
#include "command_server.hpp"
#include "config_drive.hpp"
#include "efi_boot_entry.hpp"
#include "efi_loader.hpp"
#include "fat_volume.hpp"
#include "file.hpp"
#include "gzip.hpp"
#include "inventory/memory.hpp"
#include "kernel_command_line.hpp"
#include "partition_table.hpp"
#include "root_device.hpp"
#include "signature.hpp"
#include "url.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

using namespace agent;

namespace {

std::uint64_t seed()
{
    static const std::uint64_t value = [] {
        const char* given = std::getenv("AGENT_FUZZ_SEED");
        const std::uint64_t chosen = given != nullptr ? std::strtoull(given, nullptr, 10) : static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
        std::printf("fuzz: AGENT_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(chosen));
        std::fflush(stdout);
        return chosen;
    }();
    return value;
}

int rounds(int otherwise)
{
    const char* given = std::getenv("AGENT_FUZZ_ROUNDS");
    return given != nullptr ? std::atoi(given) : otherwise;
}

class Mutator {
public:
    explicit Mutator(std::uint64_t salt) : random_(seed() ^ salt) {}

    std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }

    // Flips, inserts, removes and repeats bytes; sometimes puts in words that the parsers know.
    std::string mutate(std::string text, std::initializer_list<std::string_view> words = {})
    {
        for (std::uint64_t changes = 1 + below(1 + below(8)); changes > 0; --changes) {
            const std::size_t at = below(text.size() + 1);
            switch (below(6)) {
            case 0:
                if (at < text.size()) {
                    text[at] = static_cast<char>(random_());
                }
                break;
            case 1: text.insert(at, 1, static_cast<char>(random_())); break;
            case 2: text.erase(at, below(8)); break;
            case 3: text.insert(at, text.substr(at, below(32))); break;
            case 4: text.resize(at); break;
            default:
                if (words.size() > 0) {
                    text.insert(at, *(words.begin() + below(words.size())));
                }
            }
        }
        return text;
    }

    Bytes mutate_in_place(Bytes bytes)
    {
        for (std::uint64_t changes = 1 + below(6); changes > 0; --changes) {
            const std::size_t at = below(bytes.size());
            constexpr std::uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
            bytes[at] = below(2) != 0 ? edges[below(5)] : static_cast<std::uint8_t>(random_());
        }
        return bytes;
    }

private:
    std::mt19937_64 random_;
};

struct Region {
    std::ptrdiff_t offset;
    std::ptrdiff_t size;
};
constexpr std::ptrdiff_t volume_start = 1024 * 1024;

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::span<const std::uint8_t> span_of(const std::string& text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

void write_bytes(const std::string& path, const Bytes& bytes)
{
    const auto written = write_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    EXPECT(written);
}

// A disk image that the Makefile made with sfdisk and mtools: GPT, a FAT partition with EFI/debian/…
Bytes template_disk(const char* variable)
{
    const char* path = std::getenv(variable);
    const auto text = path != nullptr ? read_file(path, 64 * 1024 * 1024) : fail(FaultKind::not_found, variable);
    EXPECT(text);
    return text ? bytes_of(*text) : Bytes();
}

}  // namespace

RULE("any command line, hint, URL, MAC, lookup answer and API root is read or refused")
{
    Mutator mutator(1);
    const std::string line = "ipa-api-url=http://192.0.2.1:6385 BOOTIF=01-52-54-00-12-34-56 a=\"b c\" d";
    const std::string hint = "<or> 10 <range-in> [ 5 20 ) s== a <all-in> x <in> y";
    const std::string lookup = R"({"node":{"uuid":"u"},"config":{"heartbeat_timeout":300,"agent_token":"0123456789012345678901234567890123"}})";
    for (int i = 0; i < rounds(20000); ++i) {
        const auto parsed = KernelCommandLine::parse(mutator.mutate(line, {"\"", "=", " "}));
        parsed.value_of("ipa-api-url");
        parsed.flag("a");
        const std::string wild = mutator.mutate(hint, {"<or>", "<in>", "<range-in>", "s<=", "%2", "[", ")", "1e309", "nan"});
        (void)text_meets_hint("some text", wild);
        (void)number_meets_hint(10, wild);
        (void)number_meets_hint(10, wild.substr(mutator.below(wild.size() + 1)));
        (void)parse_mac_address(mutator.mutate("01-52-54-00-12-34-56"));
        (void)parse_url(mutator.mutate("http://[2001:db8::1]:6385/v1", {"[", "]", ":", "//"}));
        (void)parse_lookup(mutator.mutate(lookup, {"null", "[]", "{}", "-1", "1e400"}));
        (void)choose_version(mutator.mutate(R"({"default_version":{"version":"1.93"}})"));
        (void)parse_guid(mutator.mutate("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"));
        Disk disk;
        disk.name = "/dev/sda";
        disk.size = 8ULL << 30;
        const auto hints = parse_json(mutator.mutate(R"({"size":">= 4","model":"<in> x","rotational":true})", {"null", "[]", "{}", "\"\""}));
        if (hints) {
            (void)choose_root_device({disk}, *hints);
        }
    }
}

RULE("any command body gets an answer of 200, 400, 404, 409 or 500 as JSON, and only its own kind")
{
    Mutator mutator(2);
    const std::string scratch = test::scratch_file("fuzz-disk");
    write_bytes(scratch, Bytes(8 * 1024 * 1024));
    const Machine machine = {
        .sysfs = test::scratch_file("sys"),
        .procfs = "/proc",
        .configfs = test::scratch_file("config"),
        .efivars = test::scratch_file("efivars"),
        .ipmi_device = "/nonexistent",
        .sfdisk = "/bin/false",
        .kept_state = test::scratch_file("state"),
        .disks = {scratch},
        .power_file = test::scratch_file("power"),
    };
    const auto line = KernelCommandLine::parse("");
    std::FILE* const standard_error = stderr;
    stderr = std::fopen("/dev/null", "w");  // thousands of log lines
    Log log(false);
    Lio lio(machine, log);
    RootDisk root;
    const CommandContext context = {.machine = machine, .command_line = line, .log = log, .lio = lio, .root_disk = root, .ipv6 = false, .stop = {}, .progress = {}, .lockdown = [] {}, .power = [](PowerAction) {}};
    {
        CommandQueue queue(context, [] {});
        const std::string token = "0123456789012345678901234567890123456789";
        CommandServer server(queue, [&] { return Secret(token); }, log);
        const std::string bodies[] = {
            R"({"name":"iscsi.start_iscsi_target","params":{"iqn":"iqn.2026-01.org.ironrack:u","portal_port":3260,"wipe_disk_metadata":true,"chap":{"username":"u","password":"p"},"root_device":{"size":"< 1"}}})",
            R"({"name":"iscsi.stop_iscsi_target","params":{"iqn":"iqn.2026-01.org.ironrack:u"}})",
            R"({"name":"clean.execute_clean_step","params":{"step":{"step":"erase_devices_metadata","interface":"deploy"},"node":{"uuid":"u","properties":{"root_device":{"name":"x"}}},"ports":[],"clean_version":{"ironrack":"1"}}})",
            R"({"name":"clean.get_clean_steps","params":{"node":{},"ports":[]}})",
            R"({"name":"deploy.execute_deploy_step","params":{"step":{"step":"write_configdrive","args":{"configdrive":"H4sIAAAAAAAAA0vOz0vLTNc1AgBjqWGMCAAAAA=="}},"deploy_version":{}}})",
            R"({"name":"image.install_bootloader","params":{"root_uuid":null,"efi_system_part_uuid":"c12a7328-f81f-11d2-ba4b-00a0c93ec93b","target_boot_mode":"uefi"}})",
            R"({"name":"standby.run_image","params":{"reboot":true}})",
            R"({"name":"poll.get_hardware_info","params":{}})",
        };
        int by_status[600] = {};
        for (int i = 0; i < rounds(5000); ++i) {
            const std::string body = mutator.mutate(bodies[mutator.below(std::size(bodies))], {"null", "[]", "{}", "-1", "\"\"", "\\u0000", "1e400", "true", "[[[[[[[["});
            const HttpResponse response = server.answer({.method = "POST", .target = "/v1/commands/?agent_token=" + token, .body = body});
            const bool known = response.status == 200 || response.status == 400 || response.status == 404 || response.status == 409;
            if (!known || Json::parse(response.body, nullptr, false).is_discarded()) {
                test::note("status " + std::to_string(response.status) + " for " + body);
                EXPECT(known);
            }
            ++by_status[response.status];
            const HttpResponse other = server.answer({.method = mutator.below(2) != 0 ? "GET" : "POST", .target = mutator.mutate("/v1/commands/1be26c0b?agent_token=x&wait=false", {"%", "%zz", "/", "?", "&", "="}), .body = body});
            EXPECT(other.status == 200 || other.status == 400 || other.status == 401 || other.status == 404 || other.status == 405);
        }
        std::printf("fuzz: command bodies: %d x 200, %d x 400, %d x 404, %d x 409\n", by_status[200], by_status[400], by_status[404], by_status[409]);
    }
    std::fclose(stderr);
    stderr = standard_error;
}

RULE("any base64, gzip and load option is read or refused")
{
    Mutator mutator(3);
    const Bytes packed = gzip(Bytes(5000, 'x')).value();
    const std::string text = encode_base64(packed);
    const std::string raw(packed.begin(), packed.end());
    const Bytes option_bytes = encode_load_option({.attributes = 1, .description = "ironrack: debian", .path_list = Bytes(60, 4), .optional_data = {}});
    const std::string option(option_bytes.begin(), option_bytes.end());
    for (int i = 0; i < rounds(20000); ++i) {
        (void)decode_config_drive(mutator.mutate(text, {"=", "===="}));
        (void)gunzip(span_of(mutator.mutate(raw)), 10000);
        (void)decode_load_option(span_of(mutator.mutate(option)));
        (void)from_utf16(span_of(mutator.mutate(option)));
        (void)to_utf16(mutator.mutate("größe 𝄞 text"));
        (void)module_mebibytes(span_of(mutator.mutate(option)));
    }
}

RULE("any GPT, MBR and FAT volume is read or refused")
{
    Mutator mutator(4);
    for (const char* variable : {"AGENT_TEST_GPT_DISK", "AGENT_TEST_MBR_DISK"}) {
        const Bytes original = template_disk(variable);
        if (original.empty()) {
            return;
        }
        const std::string path = test::scratch_file("table");
        write_bytes(path, original);
        auto disk = BlockDevice::open(path, BlockDevice::Use::write);
        EXPECT(disk);
        for (int i = 0; i < rounds(3000); ++i) {
            const bool in_volume = mutator.below(2) != 0;
            // The tables, or the FAT volume at 1 MiB: its boot sector, or its FATs and first directories.
            const Region region = !in_volume ? Region{440, 2048 - 440} : mutator.below(2) != 0 ? Region{volume_start, 512} : Region{volume_start, 128 * 1024};
            const Bytes before(original.begin() + region.offset, original.begin() + region.offset + region.size);
            EXPECT(disk->write(region.offset, mutator.mutate_in_place(before)));
            const auto table = read_partition_table(*disk);
            (void)find_signatures(*disk, 0, disk->size());
            std::vector<Partition> partitions = table ? table->partitions : std::vector<Partition>();
            if (in_volume) {
                Partition whole;
                whole.first_lba = 2048;
                whole.sectors = disk->size() / 512 - 4096;
                partitions.push_back(whole);
            }
            for (const Partition& partition : partitions) {
                const auto volume = FatVolume::open(*disk, partition.first_lba * 512, partition.sectors * 512);
                if (volume) {
                    (void)find_efi_loader(*volume);
                }
            }
            EXPECT(disk->write(region.offset, before));
        }
    }
}

int main() { return test::run_all("fuzz"); }
