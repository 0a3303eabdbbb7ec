import { macAddressToBytes, type Ipv4Address, type MacAddress, parseMacAddress } from "../../src/core/brand.ts";
import type { Random } from "../../src/core/random.ts";
import { type Dhcp4Message, encodeMessage, UNSPECIFIED } from "../../src/protocol/dhcp4/message.ts";
import { encodeOptions, type OptionValues } from "../../src/protocol/dhcp4/options.ts";

/** Bytes that look like DHCP to different degrees: noise, a header with wild options, and now and then lengths that lie. */
export function anyDhcp4(random: Random): Uint8Array {
  const length = random.below(4) === 0 ? random.below(1500) : 240 + random.below(400);
  const bytes = random.bytes(length);
  if (random.below(8) === 0) return bytes;
  bytes[0] = 1 + random.below(2);
  bytes[2] = random.below(18);
  if (length >= 240) {
    bytes.set([0x63, 0x82, 0x53, 0x63], 236);
    let at = 240;
    while (at + 2 < length && random.below(30) !== 0) {
      const size = Math.min(random.below(12), length - at - 2);
      bytes[at] = random.below(256);
      bytes[at + 1] = random.below(20) === 0 ? random.below(256) : size;
      at += 2 + size;
    }
    if (at < length) bytes[at] = 255;
  }
  return bytes;
}

/** What a relay has passed on; the answer goes to it. */
export function relayedRequest(relay: Ipv4Address, mac: MacAddress, xid: number, options: OptionValues): Dhcp4Message {
  return {
    op: "request",
    htype: 1,
    hops: 1,
    xid,
    secs: 0,
    broadcast: false,
    ciaddr: UNSPECIFIED,
    yiaddr: UNSPECIFIED,
    siaddr: UNSPECIFIED,
    giaddr: relay,
    chaddr: macAddressToBytes(mac),
    sname: "",
    file: "",
    options: encodeOptions(options),
  };
}

/** Discovers that are damaged in a few places or cut short; what is answered goes to `relay`. */
export function damagedDhcp4(relay: Ipv4Address): (random: Random) => Uint8Array {
  const discover = relayedRequest(relay, parseMacAddress("52:54:00:00:00:0a"), 7, {
    messageType: "discover",
    parameterRequestList: [1, 3],
    clientSystemArchitecture: [7],
    vendorClassIdentifier: "PXEClient",
    relayAgentInformation: new Map([[19, new Uint8Array(0)]]), // the relay's own port: RFC 8357
  });
  const real = encodeMessage(discover).bytes;
  const giaddr = real.subarray(24, 28);
  return (random) => {
    const bytes = Uint8Array.from(real);
    for (let change = random.below(6); change >= 0; change -= 1) bytes[random.below(bytes.length)] = random.below(256);
    bytes.set(giaddr, 24);
    return bytes.subarray(0, random.below(3) === 0 ? random.below(bytes.length) : bytes.length);
  };
}
