// The least that a test needs: named cases, checks that say where they failed, and a count at the end.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace ironrack::test {

struct Case {
  std::string rule;
  std::function<void()> run;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Register {
  Register(std::string rule, std::function<void()> run) { cases().push_back({std::move(rule), std::move(run)}); }
};

inline void check(bool holds, const char* what, const char* file, int line) {
  if (holds) return;
  failures()++;
  std::printf("  %s:%d: does not hold: %s\n", file, line, what);
}

}  // namespace ironrack::test

#define IRONRACK_JOIN_(a, b) a##b
#define IRONRACK_JOIN(a, b) IRONRACK_JOIN_(a, b)
#define RULE(text)                                                                                            \
  static void IRONRACK_JOIN(rule_, __LINE__)();                                                               \
  static const ironrack::test::Register IRONRACK_JOIN(register_, __LINE__)(text, IRONRACK_JOIN(rule_, __LINE__)); \
  static void IRONRACK_JOIN(rule_, __LINE__)()
#define CHECK(condition) ironrack::test::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
