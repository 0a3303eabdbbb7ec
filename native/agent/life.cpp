#include "life.hpp"

#include "file.hpp"
#include "inventory/disks.hpp"
#include "inventory/interfaces.hpp"
#include "inventory/inventory.hpp"
#include "root_device.hpp"
#include "tls_certificate.hpp"

#include <algorithm>
#include <random>
#include <sys/reboot.h>
#include <thread>
#include <unistd.h>

namespace agent {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds shortest_backoff(1);
constexpr seconds longest_backoff(30);
constexpr seconds busy_pause(5);
constexpr seconds longest_absence_pause(10);
constexpr seconds disks_settled_after(2);
constexpr int refusals_of_inspection = 3;

// 1, 2, 4 … 30 s.
class Backoff {
public:
    milliseconds next()
    {
        const milliseconds now = step_;
        step_ = std::min<milliseconds>(step_ * 2, longest_backoff);
        return now;
    }

private:
    milliseconds step_ = shortest_backoff;
};

// Spread, so that a rack that was switched on at once does not beat at once.
milliseconds heartbeat_interval(seconds timeout)
{
    static std::mt19937 random{std::random_device{}()};
    std::uniform_real_distribution<double> share(0.3, 0.6);
    return milliseconds(static_cast<long>(share(random) * 1000.0 * static_cast<double>(timeout.count())));
}

}  // namespace

Life::Life(const Machine& machine, const KernelCommandLine& command_line, ListenAddress listen, Log& log)
    : machine_(machine), command_line_(command_line), listen_(std::move(listen)), log_(log), lio_(machine_, log)
{
    kept_ = load_kept_state(machine_.kept_state);
    // Given on the command line only with virtual media, which nobody else on the network can read.
    if (const auto token = command_line_.value_of("ipa-agent-token"); token && kept_.token.empty()) {
        kept_.token = Secret(*token);
    }
}

Life::~Life()
{
    if (queue_) {
        queue_->cancel();
    }
    server_.reset();
    queue_.reset();
}

Result<void> Life::run(const std::stop_token& stop)
{
    const auto text = command_line_.value_of("ipa-api-url");
    if (!text) {
        return fail(FaultKind::invalid, "the kernel command line has no ipa-api-url");
    }
    const auto url = parse_url(*text);
    if (!url) {
        return fail(url.error(), "ipa-api-url");
    }
    ApiClient api(*url, !command_line_.flag("ipa-insecure"), log_);
    log_.info("agent.started", {{"version", agent_version}, {"api", url->authority()}, {"addresses", own_addresses().size()}});

    report_inventory(api, stop);
    if (!look_up(api, stop)) {
        return {};
    }
    for (Backoff backoff; !stop.stop_requested(); pause(backoff.next(), stop)) {
        const auto serving = serve(api);
        if (serving) {
            break;
        }
        log_.error("server.not-started", {{"reason", serving.error().message}});
    }
    beat_until_stopped(api, stop);
    log_.info("agent.stopped");
    return {};
}

// The boot interface's first: the appliance finds the port by any, and this one it certainly knows.
std::vector<std::string> Life::own_addresses() const
{
    std::vector<std::string> addresses;
    if (const auto boot = parse_mac_address(command_line_.value_of("BOOTIF").value_or(""))) {
        addresses.push_back(*boot);
    }
    for (const Interface& interface : collect_interfaces(machine_)) {
        if (std::ranges::find(addresses, interface.mac_address) == addresses.end()) {
            addresses.push_back(interface.mac_address);
        }
    }
    return addresses;
}

void Life::report_inventory(ApiClient& api, const std::stop_token& stop)
{
    const auto text = command_line_.value_of("ipa-inspection-callback-url");
    if (!text || kept_.inventory_reported) {
        return;
    }
    const auto callback = parse_url(*text);
    if (!callback) {
        log_.error("inspection.callback-invalid", {{"reason", callback.error().message}});
        return;
    }
    wait_for_disks(stop);
    Backoff backoff;
    for (int refusals = 0; !stop.stop_requested();) {
        const auto taken = api.continue_inspection(*callback, collect_inspection(machine_, command_line_, stop), stop);
        if (taken) {
            log_.info("inspection.reported");
            kept_.inventory_reported = true;
            keep_state(machine_.kept_state, kept_, log_);
            return;
        }
        log_.warn("inspection.not-taken", {{"kind", name_of(taken.error().kind)}, {"reason", taken.error().message}});
        const FaultKind kind = taken.error().kind;
        // The appliance does not want it: the machine may have been booted for another reason in the meantime.
        if ((kind == FaultKind::not_found || kind == FaultKind::refused) && ++refusals == refusals_of_inspection) {
            return;
        }
        pause(kind == FaultKind::busy ? milliseconds(busy_pause) : backoff.next(), stop);
    }
}

// Disks behind a slow controller appear one after another: the list counts when it has a root disk and did not change for
// two seconds, or when the time is up (as in IPA: ipa-disk-wait-attempts of ipa-disk-wait-delay seconds).
void Life::wait_for_disks(const std::stop_token& stop)
{
    const int patience = command_line_.number("ipa-disk-wait-attempts", 10, 0, 600) * command_line_.number("ipa-disk-wait-delay", 3, 0, 600);
    const auto end = std::chrono::steady_clock::now() + seconds(patience);
    std::vector<std::string> before;
    auto unchanged_since = std::chrono::steady_clock::now();
    while (!stop.stop_requested() && std::chrono::steady_clock::now() < end) {
        const auto disks = collect_disks(machine_);
        std::vector<std::string> names;
        std::ranges::transform(disks, std::back_inserter(names), &Disk::name);
        if (names != before) {
            before = names;
            unchanged_since = std::chrono::steady_clock::now();
        } else if (choose_root_device(disks, Json::object()) && std::chrono::steady_clock::now() - unchanged_since >= disks_settled_after) {
            return;
        }
        pause(milliseconds(250), stop);
    }
}

bool Life::look_up(ApiClient& api, const std::stop_token& stop)
{
    for (Backoff backoff; !stop.stop_requested(); pause(backoff.next(), stop)) {
        const auto addresses = own_addresses();
        auto found = api.lookup(addresses, kept_.node_uuid, stop);
        if (!found) {
            if (found.error().kind == FaultKind::not_found) {
                kept_.node_uuid.clear();  // it may be enrolled anew under another one
            }
            log_.warn("lookup.failed", {{"kind", name_of(found.error().kind)}, {"reason", found.error().message}, {"addresses", addresses.size()}});
            continue;
        }
        const std::scoped_lock lock(mutex_);
        if (found->token) {
            kept_.token = *found->token;
        }
        if (kept_.token.empty()) {
            log_.warn("lookup.no-token", {{"node", found->node_uuid}, {"reason", "the appliance gave none, and hides the one it gave before"}});
            continue;
        }
        kept_.node_uuid = found->node_uuid;
        heartbeat_timeout_ = found->heartbeat_timeout;
        log_.info("lookup.found", {{"node", kept_.node_uuid}, {"heartbeat_timeout_s", heartbeat_timeout_.count()}, {"new_token", found->token ? "yes" : "no"}});
        keep_state(machine_.kept_state, kept_, log_);
        return true;
    }
    return false;
}

Result<std::unique_ptr<HttpsServer>> Life::start_server(const TlsCertificate& certificate)
{
    if (!listen_.address.empty()) {
        return HttpsServer::start(listen_.address, listen_.port, certificate, commands_->service(), log_);
    }
    // [::] takes IPv4 too; a kernel without IPv6 has only 0.0.0.0.
    auto server = HttpsServer::start("::", listen_.port, certificate, commands_->service(), log_);
    return server ? std::move(server) : HttpsServer::start("0.0.0.0", listen_.port, certificate, commands_->service(), log_);
}

Result<void> Life::serve(const ApiClient& api)
{
    const auto address = local_address_towards(api.url());
    if (!address) {
        return std::unexpected(address.error());
    }
    const auto certificate = certificate_for(*address);
    if (!certificate) {
        return std::unexpected(certificate.error());
    }
    if (!queue_) {
        prepare_commands(api.url().is_ipv6());
    }
    auto server = start_server(*certificate);
    if (!server) {
        return std::unexpected(server.error());
    }
    server_ = std::move(*server);
    callback_url_ = "https://" + Url{.is_https = true, .host = *address, .port = server_->port(), .path = ""}.authority();
    log_.info("server.listening", {{"callback_url", callback_url_}});
    return {};
}

// The one that was kept, if it is for this address: the appliance holds on to the first that it was shown.
Result<TlsCertificate> Life::certificate_for(const std::string& address)
{
    if (kept_.certificate && kept_.address == address) {
        return *kept_.certificate;
    }
    auto certificate = make_tls_certificate(address);
    if (certificate) {
        kept_.certificate = *certificate;
        kept_.address = address;
        keep_state(machine_.kept_state, kept_, log_);
    }
    return certificate;
}

void Life::prepare_commands(bool ipv6)
{
    const CommandContext context = {
        .machine = machine_,
        .command_line = command_line_,
        .log = log_,
        .lio = lio_,
        .root_disk = root_disk_,
        .ipv6 = ipv6,
        .stop = {},
        .progress = {},
        .lockdown = [this] { lock_down(); },
        .power = [this](PowerAction action) { power(action); },
    };
    queue_ = std::make_unique<CommandQueue>(context, [this] { wake(); });
    commands_ = std::make_unique<CommandServer>(*queue_, [this] { return token(); }, log_);
}

void Life::beat_until_stopped(ApiClient& api, const std::stop_token& stop)
{
    Backoff backoff;
    while (!stop.stop_requested()) {
        if (leaving_) {
            pause(longest_backoff, stop);
            continue;
        }
        const auto beaten = api.heartbeat(
            {.node_uuid = kept_.node_uuid, .callback_url = callback_url_, .agent_version = agent_version, .token = token(), .certificate = kept_.certificate->certificate}, stop);
        if (beaten) {
            log_.debug("heartbeat.taken", {{"node", kept_.node_uuid}});
            backoff = Backoff();
            pause(heartbeat_interval(heartbeat_timeout_), stop);
            continue;
        }
        log_.warn("heartbeat.failed", {{"node", kept_.node_uuid}, {"kind", name_of(beaten.error().kind)}, {"reason", beaten.error().message}});
        switch (beaten.error().kind) {
        case FaultKind::busy:
            pause(busy_pause, stop);
            break;
        case FaultKind::refused:
        case FaultKind::not_found:
            // The appliance does not know this token, or this node, any more: begin again. The pause keeps an appliance
            // that answers every lookup and refuses every heartbeat from being asked without end.
            pause(backoff.next(), stop);
            look_up(api, stop);
            break;
        default:
            // An appliance that was restarted waits for this beat to go on with its work.
            pause(std::min<milliseconds>(backoff.next(), longest_absence_pause), stop);
        }
    }
}

void Life::power(PowerAction action)
{
    if (leaving_.exchange(true)) {
        return;
    }
    log_.info("power.action", {{"action", action == PowerAction::reboot ? "reboot" : "power off"}});
    power_thread_ = std::jthread([this, action] {
        std::this_thread::sleep_for(seconds(1));  // the answer, and the heartbeat's end, leave first
        ::sync();
        if (!machine_.power_file.empty()) {
            if (const auto written = write_file(machine_.power_file, action == PowerAction::reboot ? "reboot\n" : "power off\n"); !written) {
                log_.error("power.failed", {{"reason", written.error().message}});
            }
            return;
        }
        if (::reboot(action == PowerAction::reboot ? RB_AUTOBOOT : RB_POWER_OFF) != 0) {
            log_.error("power.failed", {{"reason", fail_errno("reboot").error().message}});
            leaving_ = false;
        }
    });
}

void Life::lock_down()
{
    leaving_ = true;
    server_->stop_accepting();
}

void Life::pause(milliseconds time, const std::stop_token& stop)
{
    std::unique_lock lock(mutex_);
    awake_.wait_for(lock, stop, time, [this] { return woken_; });
    woken_ = false;
}

void Life::wake()
{
    const std::scoped_lock lock(mutex_);
    woken_ = true;
    awake_.notify_all();
}

Secret Life::token() const
{
    const std::scoped_lock lock(mutex_);
    return kept_.token;
}

}  // namespace agent
