#include "process.hpp"

#include "file.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace agent {

namespace {

constexpr std::size_t most_output = 64 * 1024;

// The input as a file: a pipe could block both sides.
Result<Descriptor> file_with(std::string_view text)
{
    Descriptor file(::memfd_create("input", MFD_CLOEXEC));
    if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::lseek(file.get(), 0, SEEK_SET) != 0) {
        return fail_errno("preparing a program's input");
    }
    return file;
}

std::string trimmed(std::string text)
{
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.pop_back();
    }
    return text;
}

}  // namespace

Result<std::string> run_process(const std::vector<std::string>& arguments, std::string_view input, std::chrono::seconds deadline)
{
    auto standard_input = file_with(input);
    if (!standard_input) {
        return std::unexpected(standard_input.error());
    }
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return fail_errno("making a pipe");
    }
    Descriptor reading(ends[0]);
    Descriptor writing(ends[1]);

    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, standard_input->get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);

    // The agent blocks signals in its threads; the program gets the ordinary ones.
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &pipe);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    std::vector<char*> argv;
    for (const std::string& argument : arguments) {
        argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);

    pid_t child = -1;
    const int error = ::posix_spawnp(&child, argv[0], &actions, &attributes, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        return fail_errno("starting " + arguments[0], error);
    }
    writing.close();

    const auto end = std::chrono::steady_clock::now() + deadline;
    std::string output;
    bool timed_out = false;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        if (left <= 0) {
            timed_out = true;
            ::kill(child, SIGKILL);
            break;
        }
        pollfd poll{.fd = reading.get(), .events = POLLIN, .revents = 0};
        const int ready = ::poll(&poll, 1, static_cast<int>(left));
        if (ready <= 0) {
            continue;
        }
        std::array<char, 4096> block;
        const ssize_t got = ::read(reading.get(), block.data(), block.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        if (output.size() < most_output) {
            output.append(block.data(), static_cast<std::size_t>(got));
        }
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    output = trimmed(std::move(output));
    if (timed_out) {
        return fail(FaultKind::internal, arguments[0] + " did not end within " + std::to_string(deadline.count()) + " s");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        const std::string how = WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status)) : "a signal";
        return fail(FaultKind::storage, arguments[0] + " ended with " + how + ": " + output);
    }
    return output;
}

}  // namespace agent
