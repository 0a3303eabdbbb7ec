// A set of half-open intervals of byte offsets, kept merged: what a target has acknowledged, what is still missing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

namespace ironrack {

struct Interval {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const Interval&) const = default;
};

class IntervalSet {
 public:
  void add(std::uint64_t begin, std::uint64_t end) {
    if (begin >= end) return;
    auto at = intervals_.upper_bound(begin);
    if (at != intervals_.begin()) {
      const auto before = std::prev(at);
      if (before->second >= begin) {
        if (before->second >= end) return;
        begin = before->first;
        at = intervals_.erase(before);
      }
    }
    while (at != intervals_.end() && at->first <= end) {
      end = std::max(end, at->second);
      at = intervals_.erase(at);
    }
    intervals_.emplace_hint(at, begin, end);
  }

  void add(const IntervalSet& other) {
    for (const auto& [begin, end] : other.intervals_) add(begin, end);
  }

  [[nodiscard]] bool contains(std::uint64_t begin, std::uint64_t end) const {
    if (begin >= end) return true;
    const auto at = intervals_.upper_bound(begin);
    return at != intervals_.begin() && std::prev(at)->second >= end;
  }

  /// Something of [begin, end) is in the set.
  [[nodiscard]] bool intersects(std::uint64_t begin, std::uint64_t end) const { return first_gap(begin, end) != Interval{begin, end}; }

  /// The first part of [begin, end) that is not in the set; an empty interval at `end` when there is none.
  [[nodiscard]] Interval first_gap(std::uint64_t begin, std::uint64_t end) const {
    auto at = intervals_.upper_bound(begin);
    if (at != intervals_.begin() && std::prev(at)->second > begin) begin = std::prev(at)->second;
    if (begin >= end) return {end, end};
    return {begin, at == intervals_.end() ? end : std::min(end, at->first)};
  }

  /// Everything of [begin, end) that is not in the set.
  [[nodiscard]] IntervalSet gaps(std::uint64_t begin, std::uint64_t end) const {
    IntervalSet out;
    while (true) {
      const auto gap = first_gap(begin, end);
      if (gap.begin >= gap.end) return out;
      out.add(gap.begin, gap.end);
      begin = gap.end;
    }
  }

  [[nodiscard]] std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (const auto& [begin, end] : intervals_) sum += end - begin;
    return sum;
  }

  [[nodiscard]] bool empty() const { return intervals_.empty(); }
  [[nodiscard]] std::size_t size() const { return intervals_.size(); }

  [[nodiscard]] std::vector<Interval> list() const {
    std::vector<Interval> out;
    for (const auto& [begin, end] : intervals_) out.push_back({begin, end});
    return out;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> intervals_;
};

}  // namespace ironrack
