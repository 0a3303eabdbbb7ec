// The agent's life: report the inventory if asked, look itself up, serve commands, send heartbeats, for as long as the
// machine runs the ramdisk. An appliance that is away or has restarted is waited for.
#pragma once

#include "api_client.hpp"
#include "command_queue.hpp"
#include "command_server.hpp"
#include "https_server.hpp"
#include "kept_state.hpp"
#include "kernel_command_line.hpp"
#include "lio.hpp"
#include "log.hpp"
#include "machine.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

namespace agent {

struct ListenAddress {
    std::string address;  // "": every address of the machine
    std::uint16_t port = 9999;
};

class Life {
public:
    Life(const Machine& machine, const KernelCommandLine& command_line, ListenAddress listen, Log& log);
    ~Life();

    // Returns when the token says so; faults only if the command line names no appliance.
    Result<void> run(const std::stop_token& stop);

private:
    std::vector<std::string> own_addresses() const;
    void report_inventory(ApiClient& api, const std::stop_token& stop);
    void wait_for_disks(const std::stop_token& stop);
    bool look_up(ApiClient& api, const std::stop_token& stop);  // false: stopped
    Result<void> serve(const ApiClient& api);
    void prepare_commands(bool ipv6);
    Result<TlsCertificate> certificate_for(const std::string& address);
    Result<std::unique_ptr<HttpsServer>> start_server(const TlsCertificate& certificate);
    void beat_until_stopped(ApiClient& api, const std::stop_token& stop);
    void power(PowerAction action);
    void lock_down();
    void pause(std::chrono::milliseconds time, const std::stop_token& stop);  // shorter if woken
    void wake();
    Secret token() const;

    const Machine machine_;
    const KernelCommandLine command_line_;
    const ListenAddress listen_;
    Log& log_;
    Lio lio_;
    RootDisk root_disk_;

    mutable std::mutex mutex_;
    std::condition_variable_any awake_;
    bool woken_ = false;
    KeptState kept_;  // its token is what counts at this moment
    std::chrono::seconds heartbeat_timeout_{300};

    std::atomic<bool> leaving_ = false;  // no heartbeat more: the machine reboots, or the agent is locked down
    std::string callback_url_;
    std::unique_ptr<CommandQueue> queue_;
    std::unique_ptr<CommandServer> commands_;
    std::unique_ptr<HttpsServer> server_;
    std::jthread power_thread_;
};

}  // namespace agent
