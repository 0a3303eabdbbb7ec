// The medium behind the test target: a file, behind a cache that is lost with the process when one is asked for.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace target {

class Disk {
 public:
  /// An empty path drops what is written and reads zeroes.
  Disk(const std::string& path, bool cached);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  [[nodiscard]] bool keeps() const { return file_ >= 0; }
  bool write(const unsigned char* from, std::size_t length, std::uint64_t offset);
  bool zero(std::uint64_t offset, std::uint64_t length);
  bool read(unsigned char* to, std::size_t length, std::uint64_t offset);
  /// Brings what the cache holds onto the medium.
  bool synchronize();

 private:
  int file_ = -1;
  bool cached_;
  std::mutex mutex_;
  std::vector<std::pair<std::uint64_t, std::vector<unsigned char>>> cache_;  // in the order of writing
};

/// The disks of one process by name: all connections see the same cache.
class Disks {
 public:
  Disk& open(const std::string& path, bool cached);

 private:
  std::mutex mutex_;
  std::map<std::string, Disk> disks_;
};

}  // namespace target
