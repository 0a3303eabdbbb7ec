import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isFault, MalformedFault } from "../../../../src/core/fault.ts";
import { ipv6FromBytes, parseIpv6Address } from "../../../../src/core/ipv6-address.ts";
import { SeededRandom } from "../../../../src/core/random.ts";
import { hardwareAddressOf } from "../../../../src/protocol/dhcp6/hardware-address.ts";
import { type Dhcp6Message, decodeMessage, encodeMessage } from "../../../../src/protocol/dhcp6/message.ts";
import { clientServerTypes, relayTypes } from "../../../../src/protocol/dhcp6/message-type.ts";
import {
  dhcp6Options,
  type OptionName,
  option,
  readOption,
  readOptions,
} from "../../../../src/protocol/dhcp6/options.ts";
import { readClient6, unpack } from "../../../../src/service/dhcp6-client.ts";
import { anyDhcp6 } from "../../../fuzz/dhcp6-datagram.ts";

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const bytes = fc.uint8Array({ maxLength: 40 }).map((one) => Uint8Array.from(one));
const address = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((one) => ipv6FromBytes(one));
const raw = fc.array(fc.record({ code: u16, bytes }), { maxLength: 4 });
const label = fc.stringMatching(/^[a-z0-9-]{1,20}$/);

/** A value for every row of the table. */
const VALUES: { readonly [N in OptionName]: fc.Arbitrary<Parameters<typeof option<N>>[1]> } = {
  clientIdentifier: fc.uint8Array({ minLength: 3, maxLength: 130 }),
  serverIdentifier: fc.uint8Array({ minLength: 3, maxLength: 130 }),
  nonTemporaryAddresses: fc.record({ iaid: u32, t1: u32, t2: u32, options: raw }),
  temporaryAddresses: fc.record({ iaid: u32, options: raw }),
  address: fc.record({ address, preferredLifetime: u32, validLifetime: u32, options: raw }),
  optionRequest: fc.array(u16, { maxLength: 8 }),
  preference: u8,
  elapsedTime: u16,
  relayMessage: bytes,
  serverUnicast: address,
  statusCode: fc.record({ code: u16, message: fc.string({ unit: "grapheme" }) }),
  rapidCommit: fc.constant(true as const),
  userClass: fc.array(bytes, { maxLength: 3 }),
  vendorClass: fc.record({ enterprise: u32, data: fc.array(bytes, { maxLength: 3 }) }),
  interfaceId: bytes,
  nameServers: fc.array(address, { maxLength: 3 }),
  domainSearch: fc.array(
    fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join(".")),
    { maxLength: 3 },
  ),
  delegatedPrefixes: fc.record({ iaid: u32, t1: u32, t2: u32, options: raw }),
  bootFileUrl: fc.webUrl(),
  bootFileParameters: fc.array(bytes, { maxLength: 3 }),
  clientArchitecture: fc.array(u16, { maxLength: 3 }),
  clientLinkLayerAddress: fc.record({ hardwareType: u16, address: bytes }),
  solicitMaximumRetransmission: u32,
  relaySourcePort: u16,
};

for (const name of Object.keys(VALUES) as OptionName[]) {
  test(`option ${name} comes back as it was — ${dhcp6Options[name].source}`, () => {
    fc.assert(
      fc.property(VALUES[name] as fc.Arbitrary<never>, (value) => {
        const encoded = option(name, value);
        assert.deepEqual(plain(readOption([encoded], name)), plain(value));
        // Cut at any length it is refused, or something shorter, which encodes to what was there.
        for (let length = 0; length < encoded.bytes.length; length += 1) {
          const cut = { code: encoded.code, bytes: encoded.bytes.subarray(0, length) };
          const read = readOrNull(() => readOption([cut], name));
          if (read !== null) assert.deepEqual(plain(option(name, read as never)), plain(cut));
        }
      }),
      { numRuns: 50 },
    );
  });
}

/** Buffers, views and arrays as one. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, one: unknown) => (one instanceof Uint8Array ? Buffer.from(one).toString("hex") : one)),
  );
}

/** null: refused as malformed; anything else thrown is a failure. */
function readOrNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    assert.ok(isFault(error) && error.kind === "malformed", String(error));
    return null;
  }
}

const message: fc.Arbitrary<Dhcp6Message> = fc.oneof(
  fc.record({
    kind: fc.constant("client-server" as const),
    type: fc.constantFrom(...(Object.keys(clientServerTypes) as (keyof typeof clientServerTypes)[])),
    transactionId: fc.integer({ min: 0, max: 0xffffff }),
    options: raw,
  }),
  fc.record({
    kind: fc.constant("relay" as const),
    type: fc.constantFrom(...(Object.keys(relayTypes) as (keyof typeof relayTypes)[])),
    hopCount: u8,
    linkAddress: address,
    peerAddress: address,
    options: raw,
  }),
);

test("every message comes back as it was, and is refused or shorter when it is cut", () => {
  fc.assert(
    fc.property(message, (one) => {
      const encoded = encodeMessage(one);
      assert.deepEqual(plain(decodeMessage(encoded)), plain(one));
      for (let length = 0; length < encoded.length; length += 1) {
        const read = readOrNull(() => decodeMessage(encoded.subarray(0, length)));
        if (read !== null) assert.deepEqual(plain(encodeMessage(read)), plain(encoded.subarray(0, length)));
      }
    }),
  );
});

test("any bytes are read or refused as malformed, also within relays and associations", () => {
  const type = fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 12, 13);
  fc.assert(
    fc.property(
      type,
      fc.array(fc.record({ code: fc.integer({ min: 0, max: 80 }), bytes }), { maxLength: 6 }),
      fc.uint8Array({ maxLength: 40 }),
      (first, options, tail) => {
        const head = first >= 12 ? new Uint8Array(33) : new Uint8Array(3);
        const body = Buffer.concat(
          options.map((one) => Buffer.concat([u16Bytes(one.code), u16Bytes(one.bytes.length), one.bytes])),
        );
        readOrNull(() => {
          const delivered = unpack(Buffer.concat([Uint8Array.of(first), head, body, tail]));
          return delivered === null ? null : readClient6(delivered, "fe80::1%eth0");
        });
      },
    ),
    { numRuns: 3000 },
  );
});

function u16Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 255);
}

test("the fixed fields stand where RFC 8415 §8 and §9 put them", () => {
  const solicit = encodeMessage({
    kind: "client-server",
    type: "solicit",
    transactionId: 0xabcdef,
    options: [option("elapsedTime", 5)],
  });
  assert.equal(Buffer.from(solicit).toString("hex"), "01abcdef000800020005");
  const relayed = encodeMessage({
    kind: "relay",
    type: "relayForward",
    hopCount: 1,
    linkAddress: parseIpv6Address("fd00::1"),
    peerAddress: parseIpv6Address("fe80::2"),
    options: [option("relayMessage", solicit)],
  });
  const [link, peer] = ["fd000000000000000000000000000001", "fe800000000000000000000000000002"];
  assert.equal(Buffer.from(relayed).toString("hex"), `0c01${link}${peer}0009000a01abcdef000800020005`);
});

test("a message in more relays than may be is refused — RFC 8415 §7.6", () => {
  const wrap = (inner: Uint8Array): Uint8Array =>
    encodeMessage({
      kind: "relay",
      type: "relayForward",
      hopCount: 0,
      linkAddress: parseIpv6Address("::"),
      peerAddress: parseIpv6Address("fe80::2"),
      options: [option("relayMessage", inner)],
    });
  let packed = encodeMessage({ kind: "client-server", type: "solicit", transactionId: 1, options: [] });
  for (let at = 0; at < 8; at += 1) packed = wrap(packed);
  assert.equal(unpack(packed)?.relays.length, 8);
  assert.throws(() => unpack(wrap(packed)), MalformedFault);
});

test("an option that may come once and comes twice is refused — RFC 8415 §21.1", () => {
  const twice = [option("elapsedTime", 1), option("elapsedTime", 2)];
  assert.throws(() => readOption(twice, "elapsedTime"), MalformedFault);
  assert.deepEqual(readOptions(twice, "elapsedTime"), [1, 2]);
});

const MAC = "52:54:00:12:34:56";
const linkLayer = { hardwareType: 1, address: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56) };
const other = Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 9);
const elsewhere = parseIpv6Address("fe80::1:2:3");
const CARDS: readonly (readonly [string, Parameters<typeof hardwareAddressOf>[0], string | null])[] = [
  ["the relay's option 79, before all else — RFC 6939", { relayed: linkLayer, peer: elsewhere, duid: other }, MAC],
  [
    "the link-local address, before the DUID",
    { relayed: undefined, peer: parseIpv6Address("fe80::5054:ff:fe12:3456"), duid: other },
    MAC,
  ],
  ["a DUID-LL", { relayed: undefined, peer: elsewhere, duid: Uint8Array.of(0, 3, 0, 1, ...linkLayer.address) }, MAC],
  [
    "a DUID-LLT",
    { relayed: undefined, peer: elsewhere, duid: Uint8Array.of(0, 1, 0, 1, 9, 9, 9, 9, ...linkLayer.address) },
    MAC,
  ],
  [
    "nothing, of a DUID-UUID and an address made by chance",
    { relayed: undefined, peer: elsewhere, duid: new Uint8Array(18).fill(4) },
    null,
  ],
  [
    "nothing, of a global address in the form of EUI-64",
    { relayed: undefined, peer: parseIpv6Address("fd00::5054:ff:fe12:3456"), duid: undefined },
    null,
  ],
  [
    "nothing, of an InfiniBand card's",
    { relayed: { hardwareType: 32, address: new Uint8Array(20) }, peer: elsewhere, duid: undefined },
    null,
  ],
];
for (const [what, signs, mac] of CARDS) {
  test(`the MAC address is known by ${what}`, () => assert.equal(hardwareAddressOf(signs), mac));
}

test("anything at all is read or refused as malformed, and what is read encodes and reads the same", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 8415);
  const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 5000);
  const random = new SeededRandom(seed);
  const datagram = anyDhcp6({ duid: random.bytes(10), pool: parseIpv6Address("fd00::100") });
  let read = 0;
  for (let round = 0; round < rounds; round += 1) {
    const bytes = datagram(random);
    const message = readOrNull(() => decodeMessage(bytes));
    if (message === null) continue;
    read += 1;
    assert.deepEqual(decodeMessage(encodeMessage(message)), message, `seed ${seed}, round ${round}`);
    for (const name of Object.keys(VALUES) as OptionName[]) readOrNull(() => readOptions(message.options, name));
    readOrNull(() => {
      const delivered = unpack(bytes);
      return delivered === null ? null : readClient6(delivered, "fe80::1%eth0");
    });
  }
  assert.ok(read > rounds / 10, `${read} of ${rounds} were read, seed ${seed}`);
});
