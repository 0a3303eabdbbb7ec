// One connection of the test target: login, and SCSI commands one after the other. Written apart from the initiator's codec, so
// that an error there does not cancel itself out here.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "test/target/disk.hpp"
#include "test/target/options.hpp"

namespace target {

struct Shared {
  Options options;
  std::atomic<std::uint64_t> writes = 0;
  std::atomic<std::uint64_t> reads = 0;
  std::atomic<int> not_ready = 0;
  Disks disks;
};

class Connection {
 public:
  Connection(int fd, Shared& shared) : fd_(fd), shared_(shared), options_(shared.options) {}
  ~Connection();

  /// Serves until the initiator leaves or a misdeed ends the connection.
  void serve();

 private:
  using Bytes = std::vector<unsigned char>;
  struct Task {
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
    std::uint32_t received = 0;
    std::uint32_t solicited = 0;
    std::uint32_t r2t_sn = 0;
    bool stall = false;  // it is never answered
    bool drop = false;  // the command failed; its data is not stored
    int opcode = 0;
    Bytes parameters;  // of commands whose data is not disk content
    std::uint32_t cdb_blocks = 0;
    unsigned char status = 0;
    Bytes sense;
  };
  struct Gone {};

  void fill(std::size_t least);
  void take(unsigned char* to, std::size_t count);
  void discard(std::size_t count);
  void put(const unsigned char* header, const unsigned char* data, std::size_t length);
  void flush();

  void login();
  void on_command(const unsigned char* header, std::uint32_t data_length);
  void on_data_out(const unsigned char* header, std::uint32_t data_length);
  void on_task_management(const unsigned char* header);
  void on_text(const unsigned char* header, std::uint32_t data_length);
  void take_data(Task& task, std::uint32_t at, std::uint32_t length);
  void solicit(std::uint32_t itt, Task& task);
  void finish(std::uint32_t itt, Task& task);
  void respond(std::uint32_t itt, unsigned char status, const Bytes& sense, unsigned char response = 0, std::uint32_t residual = 0);
  void data_in(std::uint32_t itt, const Bytes& data, std::uint32_t room);
  void read(std::uint32_t itt, std::uint64_t offset, std::uint32_t length);
  void window(unsigned char* header, bool advances);
  std::string misdeed();
  void zero(std::uint64_t offset, std::uint64_t length);

  int fd_;
  Shared& shared_;
  const Options& options_;
  Disk* disk_ = nullptr;
  bool header_digest_ = false;
  bool data_digest_ = false;
  std::uint32_t initiator_segment_ = 8192;
  std::uint32_t first_burst_ = 65536;
  std::uint32_t max_burst_ = 262144;
  bool initial_r2t_ = true;
  std::uint32_t max_r2t_ = 1;
  std::uint32_t exp_cmd_sn_ = 0;
  std::uint32_t stat_sn_ = 1;
  int unit_attentions_ = 0;
  std::map<std::uint32_t, Task> tasks_;
  Bytes input_;
  std::size_t input_begin_ = 0;
  std::size_t input_end_ = 0;
  Bytes output_;
  Bytes scratch_;
};

}  // namespace target
