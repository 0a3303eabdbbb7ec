#include "lio.hpp"

#include "block_device.hpp"
#include "file.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace agent {

namespace {

constexpr long configfs_magic = 0x62656570;

struct Setting {
    const char* name;
    const char* value;
};

// What the target offers in the login negotiation (RFC 7143 §13). With 256 KiB segments the copy per PDU is at its
// cheapest; bursts of 16 MiB and no initial R2T keep the wire busy with few round trips.
constexpr Setting parameters[] = {
    {"MaxRecvDataSegmentLength", "262144"},
    {"MaxXmitDataSegmentLength", "262144"},
    {"FirstBurstLength", "262144"},
    {"MaxBurstLength", "16776192"},
    {"InitialR2T", "No"},
    {"ImmediateData", "Yes"},
    {"MaxOutstandingR2T", "8"},
    {"MaxConnections", "1"},
    {"HeaderDigest", "CRC32C,None"},
    {"DataDigest", "CRC32C,None"},
    {"ErrorRecoveryLevel", "0"},
};

// Demo mode: any initiator that knows the secret gets an access control list of its own, and CHAP is checked against the
// portal group's auth/ (iscsi_target_nego.c, chap_main_loop's caller: dynamic_node_acl takes tpg_demo_auth).
constexpr Setting group_attributes[] = {
    {"generate_node_acls", "1"},
    {"cache_dynamic_acls", "0"},
    {"demo_mode_write_protect", "0"},
    {"prod_mode_write_protect", "0"},
    {"demo_mode_discovery", "1"},
    {"default_cmdsn_depth", "128"},
    {"login_timeout", "15"},
};

}  // namespace

bool is_iscsi_name(const std::string& name)
{
    return name.size() > 4 && name.size() <= 223 && (name.starts_with("iqn.") || name.starts_with("eui.") || name.starts_with("naa.")) &&
           std::ranges::all_of(name, [](unsigned char c) { return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '.' || c == '-' || c == ':'; });
}

Lio::Lio(const Machine& machine, Log& log)
    : sysfs_(machine.sysfs), root_(machine.configfs + "/target"), store_(root_ + "/core/iblock_0/disk"), log_(log), is_configfs_(false)
{
    struct statfs filesystem {};
    is_configfs_ = ::statfs(machine.configfs.c_str(), &filesystem) == 0 && filesystem.f_type == configfs_magic;
}

std::string Lio::portal_group(const std::string& iqn) const { return root_ + "/iscsi/" + iqn + "/tpgt_1"; }

Result<void> Lio::make_directory(const std::string& path)
{
    if (!is_configfs_) {
        std::error_code error;
        std::filesystem::create_directories(path, error);
        if (error) {
            return fail_errno("making " + path, error.value());
        }
        return {};
    }
    // mkdir in configfs makes a kernel object; the directories between are the kernel's own.
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
        return fail_errno("making " + path);
    }
    return {};
}

Result<void> Lio::remove_directory(const std::string& path)
{
    if (!is_configfs_) {
        std::error_code error;
        std::filesystem::remove_all(path, error);
        return {};
    }
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) {
        return fail_errno("removing " + path);
    }
    return {};
}

// For what differs between kernels or disks and only tunes.
void Lio::set_if_possible(const std::string& path, const std::string& value)
{
    if (const auto written = write_file(path, value); !written) {
        log_.warn("iscsi.attribute-refused", {{"path", path}, {"value", value}, {"reason", written.error().message}});
    }
}

std::optional<std::string> Lio::published_disk(const std::string& iqn) const
{
    if (!file_exists(portal_group(iqn))) {
        return std::nullopt;
    }
    return read_line_of(store_ + "/udev_path");
}

Result<void> Lio::publish(const IscsiTarget& target)
{
    // One disk at a time: whatever is there is an earlier attempt.
    if (auto gone = withdraw_all(); !gone) {
        return gone;
    }
    auto made = make_backstore(target);
    if (made) {
        made = make_target(target);
    }
    if (!made) {
        if (const auto gone = withdraw_all(); !gone) {
            log_.warn("iscsi.withdraw-failed", {{"iqn", target.iqn}, {"reason", gone.error().message}});
        }
        return made;
    }
    log_.info("iscsi.published", {{"iqn", target.iqn}, {"disk", target.disk}, {"port", target.port}, {"chap", target.chap ? "yes" : "no"}});
    return {};
}

Result<void> Lio::make_backstore(const IscsiTarget& target)
{
    // The directory appears when target_core_mod is there.
    if (is_configfs_ && !file_exists(root_)) {
        return fail(FaultKind::unsupported, root_ + " is missing: the module target_core_mod is not loaded");
    }
    if (auto made = make_directory(root_ + "/core/iblock_0"); !made) {
        return made;
    }
    if (auto made = make_directory(store_); !made) {
        return made;
    }
    // udev_path is only what `info` shows; the device is opened, exclusively, when enable is written.
    const Setting required[] = {{"udev_path", target.disk.c_str()}, {"control", nullptr}, {"enable", "1"}};
    for (const Setting& setting : required) {
        const std::string value = setting.value != nullptr ? setting.value : "udev_path=" + target.disk + ",readonly=0";
        if (auto written = write_file(store_ + "/" + setting.name, value); !written) {
            return fail(written.error(), "publishing " + target.disk);
        }
    }
    if (!is_configfs_) {
        if (auto made = make_directory(store_ + "/attrib"); !made) {
            return made;
        }
    }
    // Linux sets unmap_zeroes_data for every disk that has a command for zeros, although its UNMAP is a plain discard
    // (target_configure_unmap_from_queue). Writers that trust LBPRZ would leave old bytes: say what is true. Ranges of
    // zeros go by WRITE SAME, which iblock turns into that command. Both only before the LUN is exported.
    set_if_possible(store_ + "/attrib/unmap_zeroes_data", "0");
    const auto disk = BlockDevice::open(target.disk, BlockDevice::Use::read);
    const bool discards = disk && disk->is_block() &&
                          read_number_of(sysfs_ + "/block/" + std::filesystem::path(target.disk).filename().string() + "/queue/discard_max_bytes").value_or(0) > 0;
    if (discards) {
        set_if_possible(store_ + "/attrib/emulate_tpu", "1");
        set_if_possible(store_ + "/attrib/emulate_tpws", "1");
    }
    return {};
}

Result<void> Lio::make_target(const IscsiTarget& target)
{
    const std::string group = portal_group(target.iqn);
    // The first level loads the fabric module and the second and third are target and portal group.
    for (const std::string& path : {root_ + "/iscsi", root_ + "/iscsi/" + target.iqn, group}) {
        if (auto made = make_directory(path); !made) {
            return made;
        }
    }
    if (!is_configfs_) {
        for (const char* kind : {"/attrib", "/param", "/auth", "/lun", "/np"}) {
            if (auto made = make_directory(group + kind); !made) {
                return made;
            }
        }
    }
    for (const Setting& setting : group_attributes) {
        set_if_possible(group + "/attrib/" + setting.name, setting.value);
    }
    for (const Setting& setting : parameters) {
        set_if_possible(group + "/param/" + setting.name, setting.value);
    }
    // Who may log in is no matter of tuning: every refusal here is a fault.
    auto written = write_file(group + "/attrib/authentication", target.chap ? "1" : "0");
    if (written) {
        written = write_file(group + "/param/AuthMethod", target.chap ? "CHAP" : "None");
    }
    if (written && target.chap) {
        written = write_file(group + "/auth/userid", target.chap->username);
    }
    if (written && target.chap) {
        written = write_file(group + "/auth/password", target.chap->password.reveal());
    }
    if (!written) {
        return fail(written.error(), "setting who may log in to " + target.iqn);
    }

    const std::string lun_directory = group + "/lun/lun_" + std::to_string(lun);
    if (auto made = make_directory(lun_directory); !made) {
        return made;
    }
    if (::symlink(store_.c_str(), (lun_directory + "/disk").c_str()) != 0) {
        return fail_errno("linking the disk to LUN " + std::to_string(lun));
    }
    const std::string portal = group + "/np/" + (target.ipv6 ? "[::]" : "0.0.0.0") + ":" + std::to_string(target.port);
    if (auto made = make_directory(portal); !made) {
        return fail(made.error(), "listening on port " + std::to_string(target.port));
    }
    if (auto enabled = write_file(group + "/enable", "1"); !enabled) {
        return fail(enabled.error(), "enabling " + target.iqn);
    }
    return {};
}

Result<void> Lio::withdraw_all()
{
    for (const std::string& name : entries_of(root_ + "/iscsi")) {
        if (is_iscsi_name(name)) {
            if (auto gone = withdraw(name); !gone) {
                return gone;
            }
        }
    }
    return remove_backstore();
}

// The reverse order of making; each level refuses to go while the one below it is there.
Result<void> Lio::withdraw(const std::string& iqn)
{
    const std::string group = portal_group(iqn);
    if (!file_exists(root_ + "/iscsi/" + iqn)) {
        return {};
    }
    if (file_exists(group)) {
        // Ends the sessions and waits until their commands are through (iscsit_tpg_disable_portal_group).
        if (const auto disabled = write_file(group + "/enable", "0"); !disabled && disabled.error().kind != FaultKind::not_found) {
            log_.debug("iscsi.disable-refused", {{"iqn", iqn}, {"reason", disabled.error().message}});  // it never was enabled
        }
        for (const std::string& portal : entries_of(group + "/np")) {
            if (auto gone = remove_directory(group + "/np/" + portal); !gone) {
                return gone;
            }
        }
        for (const std::string& unit : entries_of(group + "/lun")) {
            const std::string directory = group + "/lun/" + unit;
            for (const std::string& entry : entries_of(directory)) {
                struct stat status {};
                const std::string path = directory + "/" + entry;
                if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode) && ::unlink(path.c_str()) != 0) {
                    return fail_errno("unlinking the disk from its target");
                }
            }
            if (auto gone = remove_directory(directory); !gone) {
                return gone;
            }
        }
    }
    for (const std::string& path : {group, root_ + "/iscsi/" + iqn}) {
        if (auto gone = remove_directory(path); !gone) {
            return gone;
        }
    }
    log_.info("iscsi.withdrawn", {{"iqn", iqn}});
    return remove_backstore();
}

Result<void> Lio::remove_backstore() { return file_exists(store_) ? remove_directory(store_) : Result<void>(); }

}  // namespace agent
