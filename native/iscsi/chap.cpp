#include "iscsi/chap.hpp"

#include "bytes/hasher.hpp"

namespace ironrack::iscsi {
namespace {

struct Row {
  ChapAlgorithm algorithm;
  const char* digest;
  std::size_t size;
};

constexpr Row kRows[] = {
    {ChapAlgorithm::sha3_256, "sha3-256", 32},
    {ChapAlgorithm::sha256, "sha256", 32},
    {ChapAlgorithm::sha1, "sha1", 20},
    {ChapAlgorithm::md5, "md5", 16},
};

constexpr ChapAlgorithm kStrongestFirst[] = {ChapAlgorithm::sha3_256, ChapAlgorithm::sha256, ChapAlgorithm::sha1, ChapAlgorithm::md5};

const Row& row_of(ChapAlgorithm algorithm) {
  for (const auto& row : kRows) {
    if (row.algorithm == algorithm) return row;
  }
  return kRows[3];
}

}  // namespace

std::span<const ChapAlgorithm> chap_algorithms() { return kStrongestFirst; }

std::size_t chap_response_size(ChapAlgorithm algorithm) { return row_of(algorithm).size; }

Result<std::vector<std::byte>> chap_response(ChapAlgorithm algorithm, std::uint8_t identifier, std::string_view secret, ByteSpan challenge) {
  auto hasher = Hasher::create(row_of(algorithm).digest);
  if (!hasher) return std::unexpected(std::move(hasher.error()));
  const std::byte first[] = {static_cast<std::byte>(identifier)};
  hasher->update(first);
  hasher->update(std::as_bytes(std::span(secret)));
  hasher->update(challenge);
  return hasher->finish();
}

bool same_secret(ByteSpan a, ByteSpan b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); i++) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace ironrack::iscsi
