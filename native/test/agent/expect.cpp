#include "expect.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>
#include <vector>

namespace test {

namespace {

struct Entry {
    std::string title;
    Rule rule;
};

std::vector<Entry>& rules()
{
    static std::vector<Entry> all;
    return all;
}

bool failed = false;
std::string notes;

std::string scratch_directory()
{
    static const std::string directory = [] {
        std::string name = (std::filesystem::temp_directory_path() / "agent-unit-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            std::perror("mkdtemp");
            std::exit(1);
        }
        return name;
    }();
    return directory;
}

}  // namespace

Registration::Registration(std::string title, Rule rule) { rules().push_back({std::move(title), std::move(rule)}); }

void expect(bool holds, const char* expression, const char* file, int line)
{
    if (!holds) {
        failed = true;
        std::printf("    %s:%d: %s\n", file, line, expression);
    }
}

void note(const std::string& text) { notes += "    " + text + "\n"; }

std::string scratch_file(const std::string& name) { return scratch_directory() + "/" + name; }

int run_all(const char* name)
{
    int passed = 0;
    int broken = 0;
    for (const Entry& entry : rules()) {
        failed = false;
        notes.clear();
        entry.rule();
        if (failed) {
            ++broken;
            std::printf("FAILED %s\n%s", entry.title.c_str(), notes.c_str());
        } else {
            ++passed;
        }
    }
    std::error_code ignored;
    std::filesystem::remove_all(scratch_directory(), ignored);
    std::printf("%s: %d passed, %d failed\n", name, passed, broken);
    return broken == 0 ? 0 : 1;
}

}  // namespace test
