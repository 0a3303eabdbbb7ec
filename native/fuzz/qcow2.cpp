#include "fuzz/qcow2.hpp"

#include <cstdlib>

#include "image/decoder.hpp"
#include "image/format.hpp"
#include "image/qcow2.hpp"

namespace ironrack::fuzz {

void fuzz_qcow2(Input& input) {
  Bytes bytes(4096);
  store_be<std::uint32_t>(&bytes[0], 0x514649fb);
  store_be<std::uint32_t>(&bytes[4], 2 + input.below(2));
  store_be<std::uint32_t>(&bytes[20], 9 + input.below(13));
  store_be<std::uint64_t>(&bytes[24], input.number());
  store_be<std::uint32_t>(&bytes[36], static_cast<std::uint32_t>(input.number()));
  store_be<std::uint64_t>(&bytes[40], input.one_in(2) ? 0x200000 : input.number());
  if (input.one_in(3)) store_be<std::uint64_t>(&bytes[72], input.one_in(2) ? 8 + 16 * input.below(2) : input.number());
  store_be<std::uint32_t>(&bytes[100], 104 + 8 * input.below(3));
  bytes[104] = static_cast<std::byte>(input.below(3));
  for (std::size_t at = 112; input.one_in(2) && at + 16 < bytes.size();) {
    static constexpr std::uint32_t kTypes[] = {0x6803f857, 0x0537be77, 0x44415441, 0xe2792aca, 0x12345678};
    store_be<std::uint32_t>(&bytes[at], kTypes[input.below(5)]);
    const auto length = input.one_in(5) ? static_cast<std::uint32_t>(input.number()) : input.below(200);
    store_be<std::uint32_t>(&bytes[at + 4], length);
    at += 8 + ((std::size_t{length} + 7) & ~std::size_t{7});
  }
  if (input.one_in(2)) input.change(bytes);
  const auto file_size = input.one_in(4) ? input.number() : std::uint64_t{1} << (20 + input.below(20));
  (void)image::probe(bytes);
  auto decoded = image::decode_qcow2_header(bytes, file_size);
  image::Qcow2Header header;
  if (decoded) {
    header = *decoded;
  } else {
    header.version = 3;
    header.cluster_bits = 9 + input.below(13);
    header.extended_l2 = header.cluster_bits >= 14 && input.one_in(2);
  }
  for (int i = 0; i < 50; i++) {
    const auto l1 = image::decode_l1_entry(header, input.number(), file_size);
    if (l1 && *l1 && (**l1 > file_size || header.cluster_size() > file_size - **l1)) std::abort();
    const auto needed = 1 + input.below(header.cluster_size());
    const auto l2 = image::decode_l2_entry(header, input.number() | (input.one_in(2) ? std::uint64_t{1} << 62 : 0), input.number(), needed, file_size);
    if (l2 && l2->kind == image::ClusterKind::compressed && (l2->file_offset >= file_size || l2->file_length > file_size - l2->file_offset)) std::abort();
    if (l2 && l2->kind == image::ClusterKind::data && needed > file_size - l2->file_offset) std::abort();
  }
}

}  // namespace ironrack::fuzz
