#include "tool/checkpoint_file.hpp"

#include <cstdio>
#include <fstream>
#include <sstream>

namespace ironrack::tool {
namespace {

constexpr const char* kTitle = "ironrack checkpoint 1";

}  // namespace

Checkpoints read_checkpoints(const std::string& path) {
  Checkpoints out;
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line) || line != kTitle) return out;
  std::shared_ptr<pipeline::Checkpoint> current;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string word;
    fields >> word;
    if (word == "target") {
      out.push_back(current = std::make_shared<pipeline::Checkpoint>());
      continue;
    }
    if (!current) return {};
    const auto rest = line.size() > word.size() ? line.substr(word.size() + 1) : "";
    Interval extent;
    pipeline::Record sample{};
    if (word == "image") current->image = rest;
    else if (word == "disk") current->disk = rest;
    else if (word == "extent" && fields >> extent.begin >> extent.end) current->extents.push_back(extent);
    else if (word == "sample" && fields >> sample.offset >> sample.length >> sample.checksum) current->samples.push_back(sample);
    else return {};
  }
  return out;
}

bool write_checkpoints(const std::string& path, const Checkpoints& checkpoints) {
  const auto fresh = path + ".new";
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << kTitle << '\n';
    for (const auto& each : checkpoints) {
      file << "target\n";
      if (!each) continue;
      file << "image " << each->image << "\ndisk " << each->disk << '\n';
      for (const auto& [begin, end] : each->extents) file << "extent " << begin << ' ' << end << '\n';
      for (const auto& [offset, length, checksum] : each->samples) file << "sample " << offset << ' ' << length << ' ' << checksum << '\n';
    }
    if (!file.flush()) return false;
  }
  return std::rename(fresh.c_str(), path.c_str()) == 0;
}

}  // namespace ironrack::tool
