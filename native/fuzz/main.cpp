// Fuzzers for everything that reads bytes from outside, run under ASan and UBSan: fuzz SECONDS [NAME|all] [SEED]. SECONDS are of processor
// time, for all of them together. Inputs are valid ones with changes, and noise; a crash or a sanitizer's report is the only failure. The seed
// is printed.
#include <sanitizer/common_interface_defs.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string_view>

#include "fuzz/convertible.hpp"
#include "fuzz/iscsi.hpp"
#include "fuzz/packed.hpp"
#include "fuzz/qcow2.hpp"
#include "fuzz/tftp.hpp"

namespace {

struct Row {
  std::string_view name;
  void (*run)(ironrack::fuzz::Input&);
};

constexpr Row kRows[] = {
    {"pdu", ironrack::fuzz::fuzz_pdu},
    {"text", ironrack::fuzz::fuzz_text},
    {"session", ironrack::fuzz::fuzz_session},
    {"login", ironrack::fuzz::fuzz_login},
    {"scsi", ironrack::fuzz::fuzz_scsi},
    {"qcow2", ironrack::fuzz::fuzz_qcow2},
    {"qcow2-disk", ironrack::fuzz::fuzz_qcow2_disk},
    {"vmdk", ironrack::fuzz::fuzz_vmdk},
    {"vhdx", ironrack::fuzz::fuzz_vhdx},
    {"vdi", ironrack::fuzz::fuzz_vdi},
    {"gzip", ironrack::fuzz::fuzz_gzip},
    {"zstd", ironrack::fuzz::fuzz_zstd},
    {"xz", ironrack::fuzz::fuzz_xz},
    {"bzip2", ironrack::fuzz::fuzz_bzip2},
    {"tftp", ironrack::fuzz::fuzz_tftp},
};

std::uint32_t current_seed = 0;

/// What to repeat: fuzz 1 NAME SEED begins with it.
void tell_seed() {
  std::fprintf(stderr, "fuzz: in the round of seed %u\n", current_seed);
}

double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 5;
  const std::string_view only = argc > 2 ? argv[2] : "all";
  auto seed = argc > 3 ? static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)) : std::random_device{}();
  std::signal(SIGABRT, [](int) { tell_seed(); });
  __sanitizer_set_death_callback(tell_seed);
  int ran = 0;
  for (const auto& [name, run] : kRows) {
    if (only != "all" && only != name) continue;
    ran++;
    std::printf("fuzz %s, first seed %u\n", name.data(), seed);
    std::fflush(stdout);
    const auto end = processor_seconds() + (only == "all" ? seconds / static_cast<double>(std::size(kRows)) : seconds);
    std::uint64_t rounds = 0;
    while (processor_seconds() < end) {
      current_seed = seed++;
      ironrack::fuzz::Input input(current_seed);
      run(input);
      rounds++;
    }
    std::printf("fuzz %s: %llu rounds\n", name.data(), static_cast<unsigned long long>(rounds));
  }
  if (ran > 0) return 0;
  std::fprintf(stderr, "fuzz: there is no fuzzer %s\n", argv[2]);
  return 2;
}
