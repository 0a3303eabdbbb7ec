#include "test/check.hpp"

int main() {
  int passed = 0;
  int failed = 0;
  for (const auto& [rule, run] : ironrack::test::cases()) {
    const int before = ironrack::test::failures();
    run();
    const bool good = ironrack::test::failures() == before;
    (good ? passed : failed)++;
    if (!good) std::printf("not ok: %s\n", rule.c_str());
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
