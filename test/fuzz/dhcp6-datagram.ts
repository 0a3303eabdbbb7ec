import { type Ipv6Address, ipv6FromBytes, parseIpv6Address } from "../../src/core/ipv6-address.ts";
import type { Random } from "../../src/core/random.ts";
import { encodeMessage } from "../../src/protocol/dhcp6/message.ts";
import { clientServerTypes } from "../../src/protocol/dhcp6/message-type.ts";
import { option } from "../../src/protocol/dhcp6/options.ts";
import type { RawOption } from "../../src/protocol/dhcp6/raw-options.ts";

const TYPES = Object.values(clientServerTypes);

/** What clients and relays say, in any order and with anything left out, damaged or cut short; noise now and then. */
export function anyDhcp6(server: {
  readonly duid: Uint8Array;
  readonly pool: Ipv6Address;
}): (random: Random) => Uint8Array {
  const serverId = option("serverIdentifier", server.duid);
  const asked = association(server.pool);
  const parts: readonly RawOption[] = [
    option("clientIdentifier", Uint8Array.of(0, 4, ...new Uint8Array(16).fill(9))),
    serverId,
    asked,
    association(),
    option("optionRequest", [59, 60, 23, 24, 82]),
    option("clientArchitecture", [7]),
    option("vendorClass", { enterprise: 343, data: [Buffer.from("PXEClient:Arch:00007:UNDI:003016")] }),
    option("rapidCommit", true),
    option("elapsedTime", 100),
    option("temporaryAddresses", { iaid: 3, options: [] }),
    option("delegatedPrefixes", { iaid: 4, t1: 0, t2: 0, options: [] }),
  ];
  return (random) => {
    if (random.below(8) === 0) return random.bytes(random.below(200));
    const chosen = parts.filter(() => random.below(3) > 0);
    const duid = option("clientIdentifier", random.bytes(3 + random.below(20)));
    const stranger = random.below(2) === 0;
    const options = stranger ? [duid, ...chosen.filter(({ code }) => code !== duid.code)] : chosen;
    const transactionId = random.below(1 << 24);
    let bytes = encodeMessage({ kind: "client-server", type: "solicit", transactionId, options });
    bytes[0] = TYPES[random.below(TYPES.length)] ?? 1;
    damage(bytes, random);
    for (let hop = 0; hop < 10 && random.below(4) === 0; hop += 1) bytes = relayed(bytes, hop, server.pool, random);
    return bytes.subarray(0, bytes.length - random.below(3));
  };
}

function association(...addresses: readonly Ipv6Address[]): RawOption {
  const options = addresses.map((address) =>
    option("address", { address, preferredLifetime: 0, validLifetime: 0, options: [] }),
  );
  return option("nonTemporaryAddresses", { iaid: addresses.length, t1: 0, t2: 0, options });
}

function relayed(inner: Uint8Array, hopCount: number, link: Ipv6Address, random: Random): Uint8Array {
  const bytes = encodeMessage({
    kind: "relay",
    type: "relayForward",
    hopCount,
    linkAddress: random.below(2) === 0 ? link : parseIpv6Address("::"),
    peerAddress: ipv6FromBytes(random.bytes(16)),
    options: [
      option("interfaceId", random.bytes(random.below(6))),
      option("clientLinkLayerAddress", { hardwareType: 1, address: random.bytes(6) }),
      option("relayMessage", inner),
    ],
  });
  damage(bytes, random);
  return bytes;
}

function damage(bytes: Uint8Array, random: Random): void {
  for (let places = random.below(4); places > 0; places -= 1) bytes[random.below(bytes.length)] = random.below(256);
}
