#include "fuzz/tftp.hpp"

#include <cstdlib>

#include "serve/tftp_exchange.hpp"
#include "serve/tftp_packet.hpp"

namespace ironrack::fuzz {

/// Whatever comes in on a transfer's port, what is sent lies within the file and the window.
void fuzz_tftp(Input& input) {
  serve::TftpTerms terms{8 + input.below(65457), 1 + input.below(65535), std::nullopt, input.one_in(2)};
  if (input.one_in(2)) terms.windowsize = 1 + input.below(8);
  if (input.one_in(3)) terms.timeout_s = 1 + input.below(255);
  const std::uint64_t size = input.number() >> 11;
  serve::TftpExchange exchange(size, terms);
  auto actions = exchange.start();
  for (int i = 0; i < 100; i++) {
    if (actions.count > 0) {
      const auto last = actions.first + actions.count - 1;
      if (actions.first == 0 || last > exchange.blocks() || actions.count > terms.windowsize) std::abort();
      if (exchange.offset(last) + exchange.length(last) > size || exchange.length(actions.first) > terms.blksize) std::abort();
    }
    if (actions.done && !exchange.over()) std::abort();
    Bytes packet(4 + input.below(12));
    store_be<std::uint16_t>(packet.data(), input.one_in(20) ? static_cast<std::uint16_t>(input.below(8)) : std::uint16_t{serve::kAck});
    store_be<std::uint16_t>(packet.data() + 2, static_cast<std::uint16_t>(exchange.acknowledged() + input.below(input.one_in(4) ? 65536 : terms.windowsize + 2)));
    if (input.one_in(10)) input.change(packet);
    actions = input.one_in(15) ? exchange.timeout() : exchange.receive(input.one_in(20) ? input.noise(40) : packet);
  }
}

}  // namespace ironrack::fuzz
