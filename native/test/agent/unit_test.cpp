// Rules of the agent's pure parts.
#include "expect.hpp"

#include "api_client.hpp"
#include "ata_security.hpp"
#include "base64.hpp"
#include "block_device.hpp"
#include "bytes.hpp"
#include "command_queue.hpp"
#include "config_drive.hpp"
#include "efi_boot_entry.hpp"
#include "gzip.hpp"
#include "inventory/lldp.hpp"
#include "inventory/memory.hpp"
#include "json_reader.hpp"
#include "kernel_command_line.hpp"
#include "lio.hpp"
#include "log.hpp"
#include "root_device.hpp"
#include "tar_archive.hpp"
#include "url.hpp"

#include <algorithm>
#include <cstdlib>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <thread>

using namespace agent;

RULE("the last value of a kernel parameter counts, '-' and '_' are the same, quotes hold blanks together")
{
    const auto line = KernelCommandLine::parse("quiet ipa-api-url=http://192.0.2.1:6385 a=1 a=2 BOOTIF=01-52-54-00-AB-cd-ef note=\"two words\" \"b=x y\" ipa_debug=1\n");
    EXPECT(line.value_of("ipa-api-url") == "http://192.0.2.1:6385");
    EXPECT(line.value_of("a") == "2");
    EXPECT(line.value_of("note") == "two words");
    EXPECT(line.value_of("b") == "x y");
    EXPECT(line.flag("ipa-debug"));
    EXPECT(line.flag("quiet") && !line.value_of("quiet"));
    EXPECT(!line.value_of("missing") && !line.flag("missing"));
    EXPECT(KernelCommandLine::parse("x=1=2").value_of("x") == "1=2");
}

RULE("a MAC address is read in pxelinux's, colon and dash form, and nothing else is")
{
    EXPECT(parse_mac_address("01-52-54-00-AB-CD-EF") == "52:54:00:ab:cd:ef");
    EXPECT(parse_mac_address("52:54:00:ab:cd:ef") == "52:54:00:ab:cd:ef");
    EXPECT(parse_mac_address("52-54-00-ab-cd-ef") == "52:54:00:ab:cd:ef");
    for (const char* wrong : {"", "52:54:00:ab:cd", "52:54-00:ab:cd:ef", "52:54:00:ab:cd:eg", "525400abcdef", "06-52-54-00-ab-cd-ef", "01-52-54-00-AB-CD-EFF"}) {
        EXPECT(!parse_mac_address(wrong));
    }
}

RULE("text hints: operators, alternatives, case and URL quoting as in Ironic")
{
    const auto meets = [](const char* text, const char* hint) { return text_meets_hint(text, hint).value(); };
    EXPECT(meets("Samsung SSD 980", "samsung%20ssd%20980"));
    EXPECT(meets("abc", "s== ABC") && !meets("abc", "s== ab"));
    EXPECT(meets("abc", "s!= x") && meets("abc", "s< abd") && meets("abc", "s<= abc") && meets("abc", "s>= abc") && meets("b", "s> a"));
    EXPECT(meets("INTEL SSDSC2", "<in> ssd") && !meets("INTEL", "<in> ssd"));
    EXPECT(meets("aes sse avx", "<all-in> aes <all-in> avx") && !meets("aes", "<all-in> aes <all-in> avx"));
    EXPECT(meets("two", "<or> one <or> two") && !meets("three", "<or> one <or> two"));
}

RULE("number hints: '=' is 'at least', ranges leave out what round brackets enclose")
{
    const auto meets = [](double number, const char* hint) { return number_meets_hint(number, hint).value(); };
    EXPECT(meets(10, "10") && !meets(11, "10") && meets(11, "= 10") && !meets(9, "=10"));
    EXPECT(meets(10, "== 10") && meets(9, "!= 10") && meets(9, "< 10") && meets(10, "<= 10") && meets(11, "> 10") && meets(10, ">=10"));
    EXPECT(meets(10, "<or> 5 <or> 10") && !meets(7, "<or> 5 <or> 10"));
    EXPECT(meets(10, "<range-in> [ 10 20 ]") && !meets(10, "<range-in> ( 10 20 ]") && !meets(20, "<range-in> [10 20)") && meets(15, "<range-in> (10 20)"));
    for (const char* wrong : {"", "abc", "< x", "<range-in> 10 20", "<range-in> [10]", "<or> x", "10 GiB"}) {
        EXPECT(!number_meets_hint(1, wrong));
    }
}

namespace {

constexpr std::uint64_t gib = 1024ULL * 1024 * 1024;

Disk disk_of(const char* name, std::uint64_t size)
{
    Disk disk;
    disk.name = name;
    disk.size = size;
    return disk;
}

std::vector<Disk> rack_disks()
{
    Disk usb = disk_of("/dev/sdc", 5 * gib);
    usb.tran = "usb";
    Disk small = disk_of("/dev/sdb", 3 * gib);
    Disk large = disk_of("/dev/nvme0n1", 900 * gib);
    large.model = "SAMSUNG MZQL2";
    large.wwn = "eui.0025384141b0";
    Disk middle = disk_of("/dev/sda", 100 * gib);
    middle.rotational = true;
    middle.serial = "S1";
    Disk locked = disk_of("/dev/sdd", 50 * gib);
    locked.read_only = true;
    return {middle, small, usb, locked, large};
}

}  // namespace

RULE("without hints the smallest fixed disk of at least 4 GiB is the root device, never USB, never read-only")
{
    EXPECT(choose_root_device(rack_disks(), Json::object())->name == "/dev/sda");
    EXPECT(choose_root_device({}, Json::object()).error().kind == FaultKind::not_found);
}

RULE("a disk must meet every root device hint")
{
    const auto chosen = [](const Json& hints) {
        const auto disk = choose_root_device(rack_disks(), hints);
        return disk ? disk->name : std::string(name_of(disk.error().kind));
    };
    EXPECT(chosen({{"size", ">= 200"}}) == "/dev/nvme0n1");
    EXPECT(chosen({{"size", 100}}) == "/dev/sda");
    EXPECT(chosen({{"rotational", true}}) == "/dev/sda");
    EXPECT(chosen({{"rotational", "false"}, {"model", "<in> samsung"}}) == "/dev/nvme0n1");
    EXPECT(chosen({{"name", "/dev/sdc"}}) == "/dev/sdc");  // by name even a USB disk
    EXPECT(chosen({{"name", "/dev/sdd"}}) == "not-found");
    EXPECT(chosen({{"serial", "S1"}, {"size", "< 50"}}) == "not-found");
    EXPECT(chosen({{"colour", "red"}}) == "invalid");
    EXPECT(chosen({{"size", Json::array({1})}}) == "invalid");
    EXPECT(chosen({{"size", "big"}}) == "invalid");
    EXPECT(choose_root_device(rack_disks(), Json::array()).error().kind == FaultKind::invalid);
}

RULE("base64 is its own inverse and refuses what is not base64 - RFC 4648 §10")
{
    const auto text = [](std::string_view plain) { return encode_base64({reinterpret_cast<const std::uint8_t*>(plain.data()), plain.size()}); };
    EXPECT(text("") == "" && text("f") == "Zg==" && text("fo") == "Zm8=" && text("foo") == "Zm9v" && text("foob") == "Zm9vYg==" && text("foobar") == "Zm9vYmFy");
    Bytes all;
    for (int i = 0; i < 256; ++i) {
        all.push_back(static_cast<std::uint8_t>(i));
        EXPECT(decode_base64(encode_base64(all)) == all);
    }
    EXPECT(decode_base64("Zm9v\nYmFy\n").has_value());
    EXPECT(decode_base64("Zg").has_value());  // without padding
    for (const char* wrong : {"Z", "Zg=", "Zg===", "Zm9v=", "Z!==", "Zh==", "=Zg=", "Zg==Zg=="}) {
        EXPECT(!decode_base64(wrong));
    }
}

RULE("gzip is its own inverse; too large, shortened and broken data are faults")
{
    Bytes plain(300'000);
    for (std::size_t i = 0; i < plain.size(); ++i) {
        plain[i] = static_cast<std::uint8_t>(i * i >> 8);
    }
    Bytes packed = gzip(plain).value();
    EXPECT(gunzip(packed, plain.size()) == plain);
    EXPECT(gunzip(packed, plain.size() - 1).error().kind == FaultKind::invalid);
    EXPECT(!gunzip(std::span(packed).first(packed.size() - 4), plain.size()));
    Bytes two = packed;
    two.insert(two.end(), packed.begin(), packed.end());
    EXPECT(gunzip(two, 2 * plain.size())->size() == 2 * plain.size());
    packed[packed.size() / 2] ^= 0x55;
    EXPECT(!gunzip(packed, plain.size()));
}

RULE("a config drive of more than 64 MiB is refused, however small it was packed")
{
    const Bytes bomb = gzip(Bytes(65 * 1024 * 1024)).value();
    EXPECT(bomb.size() < 100'000);
    EXPECT(decode_config_drive(encode_base64(bomb)).error().kind == FaultKind::invalid);
    EXPECT(decode_config_drive("").error().kind == FaultKind::invalid);
}

RULE("a load option decodes to what was encoded; one that ends early is a fault at every length")
{
    const LoadOption option = {.attributes = 1, .description = "ironrack: größe 𝄞", .path_list = {0x7f, 0xff, 4, 0}, .optional_data = {1, 2, 3}};
    const Bytes bytes = encode_load_option(option);
    const auto back = decode_load_option(bytes);
    EXPECT(back && back->description == option.description && back->path_list == option.path_list && back->optional_data == option.optional_data);
    EXPECT(encode_load_option(*back) == bytes);
    for (std::size_t length = 0; length + option.optional_data.size() < bytes.size(); ++length) {
        EXPECT(!decode_load_option(std::span(bytes).first(length)));
    }
}

RULE("the device path is HD(number, GPT, GUID, start, sectors)/File(loader)/End - UEFI 2.10 §10.3.5")
{
    PartitionTable table;
    table.kind = PartitionTable::Kind::gpt;
    Partition partition;
    partition.number = 15;
    partition.first_lba = 2048;
    partition.sectors = 253952;
    partition.unique = parse_guid("11223344-5566-7788-99aa-bbccddeeff00").value();
    EXPECT(hexadecimal(hard_drive_path(table, partition, "\\E")) == "04012a00"
                                                                    "0f000000"
                                                                    "0008000000000000"
                                                                    "00e0030000000000"
                                                                    "443322116655887799aabbccddeeff00"
                                                                    "0202"
                                                                    "04040a005c0045000000"
                                                                    "7fff0400");
    table.kind = PartitionTable::Kind::mbr;
    table.mbr_signature = 0xdeadbeef;
    EXPECT(hexadecimal(hard_drive_path(table, partition, "")).substr(48, 36) == "efbeadde0000000000000000000000000101");
}

RULE("a GUID's text and its bytes are each other's inverse")
{
    const std::string text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    EXPECT(guid_text(parse_guid(text).value()) == text);
    EXPECT(hexadecimal(parse_guid(text).value()) == "28732ac11ff8d211ba4b00a0c93ec93b");
    EXPECT(!parse_guid("c12a7328-f81f-11d2-ba4b-00a0c93ec93") && !parse_guid("c12a7328xf81f-11d2-ba4b-00a0c93ec93b") && !parse_guid("g12a7328-f81f-11d2-ba4b-00a0c93ec93b"));
}

RULE("a partition's node has a p before its number where the disk's name ends in a digit")
{
    EXPECT(partition_path("/dev/sda", 3) == "/dev/sda3" && partition_path("/dev/nvme0n1", 1) == "/dev/nvme0n1p1" && partition_path("/dev/mmcblk0", 2) == "/dev/mmcblk0p2");
}

RULE("memory modules are summed from SMBIOS type 17, in MiB, KiB and extended sizes")
{
    Bytes table;
    const auto module = [&](std::uint16_t size, std::uint32_t extended) {
        Bytes structure(0x28);
        structure[0] = 17;
        structure[1] = 0x28;
        structure[0x0c] = static_cast<std::uint8_t>(size);
        structure[0x0d] = static_cast<std::uint8_t>(size >> 8);
        for (int i = 0; i < 4; ++i) {
            structure[0x1c + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(extended >> (8 * i));
        }
        table.insert(table.end(), structure.begin(), structure.end());
        for (const char c : std::string("DIMM A\0Bank\0\0", 13)) {
            table.push_back(static_cast<std::uint8_t>(c));
        }
    };
    module(16384, 0);
    module(0, 0);            // empty slot
    module(0xffff, 0);       // unknown
    module(0x8000 | 2048, 0);  // 2 MiB in KiB
    module(0x7fff, 65536);
    EXPECT(module_mebibytes(table) == 16384 + 2 + 65536);
    EXPECT(!module_mebibytes({}));
    for (std::size_t length = 0; length < table.size(); ++length) {
        module_mebibytes(std::span(table).first(length));
    }
}

RULE("ATA security is read from IDENTIFY DEVICE")
{
    std::array<std::uint8_t, 512> identify{};
    const auto set = [&](std::size_t word, std::uint16_t value) {
        identify[word * 2] = static_cast<std::uint8_t>(value);
        identify[word * 2 + 1] = static_cast<std::uint8_t>(value >> 8);
    };
    EXPECT(!AtaSecurity::parse(identify).supported);
    set(82, 2);
    set(128, 0x0021);
    set(89, 30);
    set(90, 0x8000 | 40);
    const auto ready = AtaSecurity::parse(identify);
    EXPECT(ready.is_ata && ready.supported && ready.enhanced_erase && !ready.frozen && ready.erase_minutes == 80);
    set(128, 0x0009);
    const auto frozen = AtaSecurity::parse(identify);
    EXPECT(frozen.frozen && !frozen.enhanced_erase && frozen.erase_minutes == 60);
}

RULE("JSON deeper than 64 levels is refused before it is parsed; brackets in strings do not count")
{
    EXPECT(parse_json(std::string(64, '[') + std::string(64, ']')).has_value());
    EXPECT(!parse_json(std::string(65, '[') + std::string(65, ']')));
    EXPECT(parse_json("\"" + std::string(1000, '[') + "\\\"[\"").has_value());
    EXPECT(!parse_json("{\"a\":1}x") && !parse_json("") && !parse_json("{\"a\":\"\xff\"}"));
}

RULE("a field of the wrong type is a fault that names it")
{
    const Json object = {{"name", 5}, {"flag", "yes"}, {"port", 3.5}, {"big", UINT64_MAX}, {"null", nullptr}};
    EXPECT(text_field(object, "name").error().message.find("'name'") != std::string::npos);
    EXPECT(!flag_field(object, "flag", true) && !number_field(object, "port", 1, 0, 10) && !number_field(object, "big", 1, 0, 10) && !object_field(object, "name"));
    EXPECT(text_field(object, "null").error().message.find("missing") != std::string::npos);
    EXPECT(flag_field(object, "null", true).value() && number_field(object, "null", 7, 0, 10).value() == 7);
}

RULE("secrets are masked at every depth of a command's parameters, and long texts cut")
{
    const Json params = {
        {"iqn", "iqn.x"},
        {"chap", {{"username", "u"}, {"password", "p"}}},
        {"step", {{"args", {{"configdrive", "SECRET"}}}}},
        {"node", {{"driver_info", {{"ipmi_password", "SECRET"}, {"ipmi_username", "admin"}}}, {"list", Json::array({{{"agent_secret_token", "SECRET"}}})}}},
        {"wipe_disk_metadata", true},
        {"long", std::string(5000, 'x')},
    };
    const std::string masked = dump_json(masked_params(params));
    EXPECT(masked.find("SECRET") == std::string::npos && masked.find("\"p\"") == std::string::npos);
    EXPECT(masked.find("admin") != std::string::npos && masked.find("iqn.x") != std::string::npos && masked.find("true") != std::string::npos);
    EXPECT(masked.find("(5000 bytes)") != std::string::npos);
}

RULE("no value can forge a log line")
{
    EXPECT(quoted_for_log("plain") == "plain");
    EXPECT(quoted_for_log("") == "\"\"");
    EXPECT(quoted_for_log("a b") == "\"a b\"");
    EXPECT(quoted_for_log("x\n2026 error fake=1") == "\"x\\n2026 error fake=1\"");
    EXPECT(quoted_for_log("\x1b[2J\"\\") == "\"\\x1b[2J\\\"\\\\\"");
    EXPECT(quoted_for_log(std::string(5000, 'a')).size() < 1100);
}

RULE("a URL has an IP address for a host")
{
    const auto url = parse_url("http://192.0.2.1:6385/prefix/");
    EXPECT(url && url->host == "192.0.2.1" && url->port == 6385 && url->path == "/prefix" && !url->is_https);
    const auto six = parse_url("https://[2001:db8::1]");
    EXPECT(six && six->authority() == "[2001:db8::1]:443" && six->is_https);
    for (const char* wrong : {"", "ftp://192.0.2.1", "http://", "http://ironic.example:6385", "http://192.0.2.1:0", "http://192.0.2.1:99999", "http://192.0.2.1:x", "http://[::1", "http://192.0.2.1/a b",
                              "http://192.0.2.1/?x"}) {
        EXPECT(!parse_url(wrong));
    }
}

RULE("the API version is 1.68, or the server's newest if that is older")
{
    EXPECT(choose_version(R"({"default_version":{"version":"1.93"}})") == "1.68");
    EXPECT(choose_version(R"({"default_version":{"version":"1.62"}})") == "1.62");
    EXPECT(choose_version("nonsense") == "1.68" && choose_version(R"({"default_version":5})") == "1.68" && choose_version("[]") == "1.68");
}

RULE("a lookup's answer gives node, timeout and token; a masked token counts as none, a short one as a fault")
{
    const auto body = [](const char* token) { return std::string(R"({"node":{"uuid":"u-1"},"config":{"heartbeat_timeout":60,"agent_token":")") + token + R"("}})"; };
    const auto found = parse_lookup(body("0123456789012345678901234567890123456789"));
    EXPECT(found && found->node_uuid == "u-1" && found->heartbeat_timeout.count() == 60 && found->token && found->token->reveal().size() == 40);
    EXPECT(parse_lookup(body("******")) && !parse_lookup(body("******"))->token);
    EXPECT(!parse_lookup(body("short")));
    for (const char* wrong : {"", "[]", "{}", R"({"node":{"uuid":"../x"},"config":{}})", R"({"node":{"uuid":5},"config":{}})", R"({"node":{"uuid":"u"},"config":{"heartbeat_timeout":"x"}})", R"({"node":[],"config":{}})"}) {
        EXPECT(!parse_lookup(wrong));
    }
}

RULE("an iSCSI name is lower case and cannot leave its configfs directory")
{
    EXPECT(is_iscsi_name("iqn.2026-01.org.ironrack:1be26c0b-03f2-4d2e-ae87-c02d7f33c123"));
    for (const std::string& wrong : {std::string("iqn."), std::string("iqn.a/../b"), std::string("iqn.A"), std::string("x.y"), "iqn." + std::string(220, 'a'), std::string("iqn.a\nb")}) {
        EXPECT(!is_iscsi_name(wrong));
    }
}

RULE("secrets compare equal only to themselves")
{
    EXPECT(Secret("abc").equals("abc") && !Secret("abc").equals("abd") && !Secret("abc").equals("ab") && !Secret("abc").equals("abca") && !Secret("").equals("") && !Secret("a").equals(""));
}

namespace {

// A data unit as IEEE 802.1AB-2016 §8 lays it out: chassis id (MAC), port id (interface name), time to live, system name, end.
Bytes lldp_frame()
{
    const auto tlv = [](Bytes& out, int type, std::string_view value) {
        out.push_back(static_cast<std::uint8_t>(type << 1 | value.size() >> 8));
        out.push_back(static_cast<std::uint8_t>(value.size()));
        out.insert(out.end(), value.begin(), value.end());
    };
    Bytes frame = {0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc};
    tlv(frame, 1, std::string_view("\x04\x02\x00\x00\x00\x00\x01", 7));
    tlv(frame, 2, "\x05" "Ethernet1/7");
    tlv(frame, 3, std::string_view("\x00\x78", 2));
    tlv(frame, 5, "leaf-3");
    tlv(frame, 0, "");
    return frame;
}

}  // namespace

RULE("an LLDP frame gives its TLVs in order; cut short anywhere it gives none")
{
    const Bytes frame = lldp_frame();
    const LldpTlvs expected = {{1, "04020000000001"}, {2, "0545746865726e6574312f37"}, {3, "0078"}, {5, "6c6561662d33"}, {0, ""}};
    EXPECT(parse_lldp_frame(frame) == expected);
    for (std::size_t length = 0; length < frame.size(); ++length) {
        EXPECT(!parse_lldp_frame(std::span(frame).first(length)));
    }
}

RULE("what a switch announces on a card is heard, and cards that hear nothing do not delay it past the time")
{
    // A thread of its own in a network namespace of its own, which goes with it.
    std::thread([] {
        if (::unshare(CLONE_NEWNET) != 0 || std::system("ip link add card type veth peer name switch && ip link set card up && ip link set switch up") != 0) {
            test::note("needs root and iproute2");
            EXPECT(false);
            return;
        }
        const Bytes frame = lldp_frame();
        Descriptor sender(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_ifindex = static_cast<int>(::if_nametoindex("switch"));
        std::jthread announcements([&](const std::stop_token& stop) {
            while (!stop.stop_requested()) {
                ::sendto(sender.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&address), sizeof address);
                std::this_thread::sleep_for(std::chrono::milliseconds(100));
            }
        });
        const auto heard = collect_lldp({"card", "lo", "no-such-card"}, std::chrono::milliseconds(3000), {});
        EXPECT(heard.size() == 1 && heard.contains("card") && heard.at("card") == parse_lldp_frame(frame));
    }).join();
}

RULE("writing zeros stops when it is cancelled, and every byte of the range is zero when it is not")
{
    const std::string path = test::scratch_file("zeros");
    EXPECT(write_file(path, std::string(3'000'000, 'x')));
    auto disk = BlockDevice::open(path, BlockDevice::Use::exclusive);
    EXPECT(disk);
    std::stop_source stop;
    EXPECT(disk->zero(1000, 2'000'000, stop.get_token()));
    Bytes bytes(3'000'000);
    EXPECT(disk->read(0, bytes));
    EXPECT(std::ranges::count(bytes, 0) == 2'000'000 && bytes[999] == 'x' && bytes[1000] == 0 && bytes[2'000'999] == 0 && bytes[2'001'000] == 'x');
    stop.request_stop();
    EXPECT(disk->zero(0, 3'000'000, stop.get_token()).error().kind == FaultKind::cancelled);
    EXPECT(!disk->zero(2'999'999, 2, {}) && !disk->read(3'000'000, std::span(bytes).first(1)) && !disk->write(2'999'999, std::span(bytes).first(2)));
}

RULE("a number on the command line is brought into its range")
{
    const auto line = KernelCommandLine::parse("a=5 b=-7 c=99999 d=x");
    EXPECT(line.number("a", 1, 0, 10) == 5 && line.number("b", 1, 0, 10) == 0 && line.number("c", 1, 0, 10) == 10 && line.number("d", 3, 0, 10) == 3 && line.number("e", 4, 0, 10) == 4);
}

int main() { return test::run_all("unit"); }
