// Runs commands and remembers how they ended: the agent's list of commands.
#pragma once

#include "command.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace agent {

class CommandQueue {
public:
    // `when_ended` is called after an asynchronous command, from its thread.
    CommandQueue(CommandContext context, std::function<void()> when_ended);
    ~CommandQueue();  // cancels what runs and waits for it

    // Runs a synchronous command to its end, or starts an asynchronous one; answers the command's document.
    // Faults: `not_found` (no such command), `invalid` (parameters), `busy` (another asynchronous one runs).
    Result<Json> execute(const std::string& name, const Json& params);

    // The command's document; with a patience, only when it has ended or the patience is over.
    Result<Json> find(const std::string& id, std::chrono::milliseconds patience);

    Json list() const;  // oldest first, the newest 64

    // Cancels the running command and lets every waiting `find` return.
    void cancel();

private:
    struct Entry;

    Json document_of(const Entry& entry) const;
    void finish(Entry& entry, const Result<Json>& outcome);
    std::shared_ptr<Entry> add(const std::string& name, const Json& params);

    CommandContext context_;
    const std::function<void()> when_ended_;
    std::stop_source stop_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<Entry>> entries_;
    std::shared_ptr<Entry> running_;
    std::thread worker_;
};

// A copy for the list: passwords, tokens and the like as "***", config drives as their size, long texts cut.
Json masked_params(const Json& params);

}  // namespace agent
