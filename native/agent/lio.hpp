// The kernel's iSCSI target (LIO), driven through configfs: one disk as LUN 1 of one target.
// @source Documentation/target/ and drivers/target in Linux 6.1
#pragma once

#include "fault.hpp"
#include "log.hpp"
#include "machine.hpp"
#include "secret.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace agent {

struct Chap {
    std::string username;
    Secret password;
};

struct IscsiTarget {
    std::string iqn;
    std::uint16_t port = 3260;
    bool ipv6 = false;  // listen on [::] instead of 0.0.0.0
    std::string disk;   // "/dev/sda"
    std::optional<Chap> chap;
};

class Lio {
public:
    static constexpr std::uint32_t lun = 1;

    Lio(const Machine& machine, Log& log);

    // Publishes the disk. A target of the same name that is there already is taken down first, with its sessions: after
    // a conductor's restart its secret is lost, and what its session had in flight must not land later.
    Result<void> publish(const IscsiTarget& target);

    // Takes the target down and lets the disk go. Not being there is success.
    Result<void> withdraw(const std::string& iqn);

    // All targets of the machine: only this agent makes any.
    Result<void> withdraw_all();

    // The disk that a target publishes now.
    std::optional<std::string> published_disk(const std::string& iqn) const;

private:
    std::string portal_group(const std::string& iqn) const;
    Result<void> make_backstore(const IscsiTarget& target);
    Result<void> make_target(const IscsiTarget& target);
    Result<void> remove_backstore();
    void set_if_possible(const std::string& path, const std::string& value);
    Result<void> make_directory(const std::string& path);
    Result<void> remove_directory(const std::string& path);

    const std::string sysfs_;
    const std::string root_;   // …/target
    const std::string store_;  // …/target/core/iblock_0/disk
    Log& log_;
    bool is_configfs_;         // false: a test's directory, which does not fill and empty itself
};

// RFC 7143 §4.2.7: what may stand in an iSCSI name, at most 223 bytes; no '/' that would leave the configfs directory.
bool is_iscsi_name(const std::string& name);

}  // namespace agent
