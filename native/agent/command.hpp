// What a command is, and what it may use.
#pragma once

#include "fault.hpp"
#include "json_reader.hpp"
#include "kernel_command_line.hpp"
#include "lio.hpp"
#include "log.hpp"
#include "machine.hpp"

#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

namespace agent {

// The disk that the deployment writes to, once a command has chosen it.
class RootDisk {
public:
    void remember(const std::string& path)
    {
        const std::scoped_lock lock(mutex_);
        path_ = path;
    }
    std::optional<std::string> remembered() const
    {
        const std::scoped_lock lock(mutex_);
        return path_;
    }

private:
    mutable std::mutex mutex_;
    std::optional<std::string> path_;
};

enum class PowerAction { reboot, power_off };

struct CommandContext {
    const Machine& machine;
    const KernelCommandLine& command_line;
    Log& log;
    Lio& lio;
    RootDisk& root_disk;
    bool ipv6 = false;                           // the appliance is reached over IPv6
    std::stop_token stop;                        // looked at in every loop over a disk
    std::function<void(Json)> progress;          // becomes command_result while the command runs
    std::function<void()> lockdown;              // ends the agent's network service after the answer
    std::function<void(PowerAction)> power;      // a second later, so that the answer still leaves
};

using CommandJob = std::function<Result<Json>(CommandContext&)>;

struct CommandDefinition {
    std::string_view name;
    bool is_async;  // answers at once with RUNNING; one at a time
    // Reads the parameters into a job; a fault here is the client's (400), a fault of the job is a FAILED command.
    Result<CommandJob> (*prepare)(const Json& params);
};

// Every command of the agent, from commands/.
std::span<const CommandDefinition> command_definitions();

}  // namespace agent
