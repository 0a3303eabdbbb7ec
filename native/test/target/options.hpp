// What the test target is told to be and to do wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace target {

/// A misdeed, done at the n-th WRITE, WRITE SAME or UNMAP (counted from 1 over all connections); every > 0 repeats it.
struct Fault {
  std::string kind;  // check:K/ASC/ASCQ, busy, full, reserved, aborted, drop, reject, async:EVENT, stall, silent, short, ping, response
  std::uint64_t at = 0;
  std::uint64_t every = 0;
};

struct Options {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;
  std::string store;  // a directory with a file per target name; empty: data is dropped and reads give zeroes
  std::uint64_t size = 0;
  std::uint32_t block_size = 512;
  std::uint32_t max_recv_data_segment_length = 262144;
  std::uint32_t first_burst_length = 262144;
  std::uint32_t max_burst_length = 1048576;
  std::uint32_t max_outstanding_r2t = 1;
  bool initial_r2t = false;
  bool immediate_data = true;
  bool digests = false;  // takes up CRC32C when it is offered
  bool check_digests = true;
  std::uint32_t window = 64;
  std::uint32_t max_transfer_blocks = 0;
  bool unmap = false;
  bool write_same_unmap = false;
  bool write_same = true;
  bool unmapped_reads_zero = false;
  std::uint32_t unmap_granularity = 0;
  bool read_only = false;
  int unit_attentions = 1;  // on each new session
  int not_ready = 0;        // TEST UNIT READYs answered with "becoming ready"
  std::string chap_user;
  std::string chap_secret;
  std::string mutual_user;
  std::string mutual_secret;
  std::string chap_algorithm;  // the only one it takes
  std::string redirect;        // address:port that every login is sent to
  std::uint32_t delay_us = 0;  // before each status
  bool cache = false;          // what is not synchronized is lost with the process
  bool refuse_abort = false;   // ABORT TASK is not supported
  bool flip_read = false;      // one bit of every 100th read is wrong
  std::vector<Fault> faults;
};

Options parse_options(int argc, char** argv);

}  // namespace target
