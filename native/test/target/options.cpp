#include "test/target/options.hpp"

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>

namespace target {

Options parse_options(int argc, char** argv) {
  Options options;
  const auto number = [](auto& field) { return [&field](const std::string& value) { field = static_cast<std::remove_reference_t<decltype(field)>>(std::stoull(value)); }; };
  const auto text = [](std::string& field) { return [&field](const std::string& value) { field = value; }; };
  const auto yes = [](bool& field) { return [&field](const std::string& value) { field = value == "yes"; }; };
  const std::map<std::string, std::function<void(const std::string&)>> table = {
      {"address", text(options.address)},
      {"port", number(options.port)},
      {"store", text(options.store)},
      {"size", number(options.size)},
      {"block-size", number(options.block_size)},
      {"segment", number(options.max_recv_data_segment_length)},
      {"first-burst", number(options.first_burst_length)},
      {"max-burst", number(options.max_burst_length)},
      {"max-r2t", number(options.max_outstanding_r2t)},
      {"initial-r2t", yes(options.initial_r2t)},
      {"immediate-data", yes(options.immediate_data)},
      {"digests", yes(options.digests)},
      {"check-digests", yes(options.check_digests)},
      {"window", number(options.window)},
      {"max-transfer", number(options.max_transfer_blocks)},
      {"unmap", yes(options.unmap)},
      {"write-same-unmap", yes(options.write_same_unmap)},
      {"write-same", yes(options.write_same)},
      {"lbprz", yes(options.unmapped_reads_zero)},
      {"granularity", number(options.unmap_granularity)},
      {"read-only", yes(options.read_only)},
      {"unit-attentions", number(options.unit_attentions)},
      {"not-ready", number(options.not_ready)},
      {"chap-user", text(options.chap_user)},
      {"chap-secret", text(options.chap_secret)},
      {"mutual-user", text(options.mutual_user)},
      {"mutual-secret", text(options.mutual_secret)},
      {"chap-algorithm", text(options.chap_algorithm)},
      {"redirect", text(options.redirect)},
      {"delay-us", number(options.delay_us)},
      {"cache", yes(options.cache)},
      {"refuse-abort", yes(options.refuse_abort)},
      {"flip-read", yes(options.flip_read)},
      {"fault",
       [&](const std::string& value) {  // KIND@N or KIND@N+EVERY
         const auto at = value.rfind('@');
         Fault fault{value.substr(0, at), 0, 0};
         const auto when = value.substr(at + 1);
         fault.at = std::stoull(when);
         if (const auto plus = when.find('+'); plus != std::string::npos) fault.every = std::stoull(when.substr(plus + 1));
         options.faults.push_back(fault);
       }},
  };
  for (int i = 1; i < argc; i++) {
    const std::string argument = argv[i];
    const auto equals = argument.find('=');
    const auto row = argument.starts_with("--") && equals != std::string::npos ? table.find(argument.substr(2, equals - 2)) : table.end();
    if (row == table.end()) {
      std::fprintf(stderr, "test target: unknown option %s; options are --KEY=VALUE of", argument.c_str());
      for (const auto& [key, set] : table) std::fprintf(stderr, " %s", key.c_str());
      std::fprintf(stderr, "\n");
      std::exit(2);
    }
    row->second(argument.substr(equals + 1));
  }
  return options;
}

}  // namespace target
