import assert from "node:assert/strict";
import { test } from "node:test";
import { macAddressToBytes, parseIpv4Address, parseMacAddress } from "../../../src/core/brand.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { seconds } from "../../../src/core/units.ts";
import { type Dhcp4Message, decodeMessage, encodeMessage, UNSPECIFIED } from "../../../src/protocol/dhcp4/message.ts";
import { encodeOptions, readOption } from "../../../src/protocol/dhcp4/options.ts";
import { readClient } from "../../../src/service/dhcp-client.ts";
import { encodeReply } from "../../../src/service/dhcp-reply.ts";

const SERVER = parseIpv4Address("10.0.0.1");
const OTHER_SERVER = parseIpv4Address("10.1.0.1");
const ADDRESS = parseIpv4Address("10.0.0.7");
/** Message type, server, times, mask: before what the client asks for. */
const FIRST = [53, 54, 51, 58, 59, 1];

const subnets = [
  encodeOptions({ subnetMask: parseIpv4Address("255.255.255.0"), router: [SERVER], domainName: "rack.test" }),
  encodeOptions({
    subnetMask: parseIpv4Address("255.255.0.0"),
    domainNameServer: [SERVER],
    tftpServerAddress: [SERVER],
  }),
  new Map([...encodeOptions({ domainName: "large" }), [224, new Uint8Array(250).fill(1)], [225, new Uint8Array(600)]]),
];

test("a reply says the same whether the one before it was alike or not, in the same order", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 23);
  const random = new SeededRandom(seed);
  const one = <T>(items: readonly T[]): T => items[random.below(items.length)] as T;
  for (let round = 0; round < 5000; round += 1) {
    const asked = one([undefined, [1, 3, 15], [15, 3, 1, 6], [3, 61, 224], [225, 3], [150]]);
    const request: Dhcp4Message = {
      op: "request",
      htype: 1,
      hops: 0,
      xid: round,
      secs: 0,
      broadcast: random.below(2) === 0,
      ciaddr: UNSPECIFIED,
      yiaddr: UNSPECIFIED,
      siaddr: UNSPECIFIED,
      giaddr: one([UNSPECIFIED, SERVER]),
      chaddr: macAddressToBytes(parseMacAddress("52:54:00:00:00:07")),
      sname: "",
      file: "",
      options: encodeOptions({
        messageType: "discover",
        parameterRequestList: asked,
        clientIdentifier: one([undefined, Uint8Array.of(1, 2, 3), new Uint8Array(40).fill(9)]),
        maximumMessageSize: one([undefined, 576, 1500]),
        relayAgentInformation: one([undefined, new Map([[1, Uint8Array.of(4)]])]),
      }),
    };
    const contents = {
      type: one(["offer", "ack"] as const),
      yiaddr: ADDRESS,
      leaseTime: one([null, seconds(600), seconds(3600)]),
      hostname: one([null, null, "r1u1"]),
      boot: one([null, { kind: "silent", reason: "nothing is ordered" } as const]),
      message: null,
    };
    const server = one([SERVER, OTHER_SERVER]);
    const options = one(subnets);
    const { bytes, omitted } = encodeReply(request, readClient(request), contents, server, options);
    const reply = decodeMessage(bytes);
    assert.equal(reply.options.get(53)?.[0], contents.type === "offer" ? 2 : 5);
    assert.equal(readOption(reply.options, "serverIdentifier"), server);
    assert.deepEqual(reply.options.get(1), options.get(1));
    for (const code of asked ?? options.keys())
      if (!omitted.includes(code) && code !== 61) assert.deepEqual(reply.options.get(code), options.get(code));
    assert.equal(reply.options.has(51), contents.leaseTime !== null);
    assert.deepEqual(reply.options.get(61), request.options.get(61));
    assert.deepEqual(reply.options.get(82), request.options.get(82));
    assert.equal([...reply.options.keys()].at(-1) === 82, reply.options.has(82));
    if (omitted.length > 0 || reply.options.has(52)) continue; // parts lie elsewhere, and come in another order
    const maximumSize = Math.max(bytes.length, 548);
    const again = encodeMessage(reply, { order: [...FIRST, ...(asked ?? [])], maximumSize });
    assert.deepEqual(again.bytes, bytes, `seed ${seed}, round ${round}`);
  }
});
