// The smallest frame for tests: rules with names, expectations that say where they failed, a count at the end.
#pragma once

#include <functional>
#include <string>

namespace test {

using Rule = std::function<void()>;

struct Registration {
    Registration(std::string title, Rule rule);
};

void expect(bool holds, const char* expression, const char* file, int line);
void note(const std::string& text);  // shown if the rule fails

// Runs all rules; prints the failed ones and "N passed, M failed". The exit status of main.
int run_all(const char* name);

// A file in a directory of its own, removed at the end of the program.
std::string scratch_file(const std::string& name);

}  // namespace test

#define TEST_JOIN2(a, b) a##b
#define TEST_JOIN(a, b) TEST_JOIN2(a, b)
#define RULE(title)                                                                                                  \
    static void TEST_JOIN(rule_, __LINE__)();                                                                        \
    static const test::Registration TEST_JOIN(registration_, __LINE__)(title, TEST_JOIN(rule_, __LINE__));           \
    static void TEST_JOIN(rule_, __LINE__)()
#define EXPECT(expression) test::expect(static_cast<bool>(expression), #expression, __FILE__, __LINE__)
