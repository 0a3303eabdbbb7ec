#include "command_queue.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <sys/random.h>

namespace agent {

namespace {

constexpr std::size_t most_entries = 64;
constexpr std::size_t longest_param = 4096;

std::string random_uuid()
{
    std::array<std::uint8_t, 16> bytes{};
    while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    }
    bytes[6] = (bytes[6] & 0x0f) | 0x40;  // RFC 9562 §5.4
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        constexpr const char* digits = "0123456789abcdef";
        text += i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        text += digits[bytes[i] >> 4];
        text += digits[bytes[i] & 15];
    }
    return text;
}

bool is_secret_name(std::string_view name)
{
    constexpr std::string_view words[] = {"password", "passwd", "secret", "token", "chap", "credential", "private_key", "ssh_key", "configdrive", "config_drive",
                                          "authorization"};
    std::string lower(name);
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::ranges::any_of(words, [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

// A job's exception is a bug or a lack of memory: that command fails, the agent goes on.
Result<Json> run_job(const CommandJob& job, CommandContext& context)
{
    try {
        return job(context);
    } catch (const std::exception& error) {
        return fail(FaultKind::internal, std::string("internal fault of the agent: ") + error.what());
    }
}

}  // namespace

Json masked_params(const Json& params)
{
    if (params.is_object()) {
        Json out = Json::object();
        for (const auto& [name, value] : params.items()) {
            out[name] = is_secret_name(name) && !value.is_null() && !value.is_boolean() ? Json("***") : masked_params(value);
        }
        return out;
    }
    if (params.is_array()) {
        Json out = Json::array();
        for (const Json& value : params) {
            out.push_back(masked_params(value));
        }
        return out;
    }
    if (params.is_string() && params.get_ref<const std::string&>().size() > longest_param) {
        return "(" + std::to_string(params.get_ref<const std::string&>().size()) + " bytes)";
    }
    return params;
}

struct CommandQueue::Entry {
    std::string id;
    std::string name;
    Json params;
    std::string status = "RUNNING";
    Json error;
    Json result;

    bool has_ended() const { return status != "RUNNING"; }
};

CommandQueue::CommandQueue(CommandContext context, std::function<void()> when_ended) : context_(std::move(context)), when_ended_(std::move(when_ended))
{
    context_.stop = stop_.get_token();
}

CommandQueue::~CommandQueue()
{
    cancel();
    if (worker_.joinable()) {
        worker_.join();
    }
}

void CommandQueue::cancel()
{
    stop_.request_stop();
    const std::scoped_lock lock(mutex_);
    changed_.notify_all();
}

std::shared_ptr<CommandQueue::Entry> CommandQueue::add(const std::string& name, const Json& params)
{
    auto entry = std::make_shared<Entry>();
    entry->id = random_uuid();
    entry->name = name;
    entry->params = masked_params(params);
    entries_.push_back(entry);
    while (entries_.size() > most_entries && entries_.front() != running_) {
        entries_.pop_front();
    }
    return entry;
}

void CommandQueue::finish(Entry& entry, const Result<Json>& outcome)
{
    if (outcome) {
        entry.status = "SUCCEEDED";
        entry.result = *outcome;
    } else {
        entry.status = outcome.error().kind == FaultKind::version_mismatch ? "CLEAN_VERSION_MISMATCH" : "FAILED";
        entry.result = nullptr;
        entry.error = {{"type", name_of(outcome.error().kind)}, {"code", 500}, {"message", outcome.error().message}, {"details", outcome.error().message}};
    }
    context_.log.info("command.ended", {{"command", entry.name}, {"id", entry.id}, {"status", entry.status}, {"reason", outcome ? "" : outcome.error().message}});
}

Json CommandQueue::document_of(const Entry& entry) const
{
    return {
        {"id", entry.id},           {"command_name", entry.name},   {"command_params", entry.params},
        {"command_status", entry.status}, {"command_error", entry.error}, {"command_result", entry.result},
    };
}

Result<Json> CommandQueue::execute(const std::string& name, const Json& params)
{
    const auto definitions = command_definitions();
    const auto definition = std::ranges::find(definitions, name, &CommandDefinition::name);
    if (definition == definitions.end()) {
        return fail(FaultKind::not_found, "no command '" + name.substr(0, 64) + "'");
    }
    auto job = definition->prepare(params);
    if (!job) {
        return std::unexpected(job.error());
    }

    std::unique_lock lock(mutex_);
    if (definition->is_async && running_) {
        return fail(FaultKind::busy, "Agent is busy");  // Ironic's clients know these words
    }
    const auto entry = add(name, params);
    context_.log.info("command.started", {{"command", name}, {"id", entry->id}});
    if (!definition->is_async) {
        lock.unlock();
        CommandContext context = context_;
        context.progress = [](const Json&) {};
        const Result<Json> outcome = run_job(*job, context);
        lock.lock();
        finish(*entry, outcome);
        return document_of(*entry);
    }
    running_ = entry;
    if (worker_.joinable()) {
        worker_.join();  // the thread of the command before has nothing left to do
    }
    worker_ = std::thread([this, entry, job = std::move(*job)] {
        CommandContext context = context_;
        context.progress = [this, &entry](Json progress) {
            const std::scoped_lock inner(mutex_);
            entry->result = std::move(progress);
        };
        const Result<Json> outcome = run_job(job, context);
        {
            const std::scoped_lock inner(mutex_);
            finish(*entry, outcome);
            running_.reset();
            changed_.notify_all();
        }
        when_ended_();
    });
    return document_of(*entry);
}

Result<Json> CommandQueue::find(const std::string& id, std::chrono::milliseconds patience)
{
    std::unique_lock lock(mutex_);
    const auto at = std::ranges::find_if(entries_, [&](const auto& entry) { return entry->id == id; });
    if (at == entries_.end()) {
        return fail(FaultKind::not_found, "no command with the id '" + id.substr(0, 64) + "'");
    }
    const auto entry = *at;
    changed_.wait_for(lock, patience, [&] { return entry->has_ended() || stop_.stop_requested(); });
    return document_of(*entry);
}

Json CommandQueue::list() const
{
    const std::scoped_lock lock(mutex_);
    Json commands = Json::array();
    for (const auto& entry : entries_) {
        commands.push_back(document_of(*entry));
    }
    return commands;
}

}  // namespace agent
