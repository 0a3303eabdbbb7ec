import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIpv4Address } from "../../../../src/core/brand.ts";
import { isFault, MalformedFault } from "../../../../src/core/fault.ts";
import { SeededRandom } from "../../../../src/core/random.ts";
import {
  type Dhcp4Message,
  decodeMessage,
  encodeMessage,
  UNSPECIFIED,
} from "../../../../src/protocol/dhcp4/message.ts";
import { encodeOptions, isOptionName, optionNameFromCode, readOption } from "../../../../src/protocol/dhcp4/options.ts";
import { readClient } from "../../../../src/service/dhcp-client.ts";
import { anyDhcp4 } from "../../../fuzz/dhcp4-datagram.ts";

const base: Dhcp4Message = {
  op: "request",
  htype: 1,
  hops: 0,
  xid: 0xdeadbeef,
  secs: 3,
  broadcast: true,
  ciaddr: UNSPECIFIED,
  yiaddr: UNSPECIFIED,
  siaddr: UNSPECIFIED,
  giaddr: parseIpv4Address("10.1.2.3"),
  chaddr: Uint8Array.of(0x52, 0x54, 0, 1, 2, 3),
  sname: "server",
  file: "file.efi",
  options: encodeOptions({ messageType: "discover", hostName: "n1" }),
};

test("the fixed fields stand where RFC 2131 §2 puts them", () => {
  const { bytes } = encodeMessage(base);
  assert.equal(
    Buffer.from(bytes.subarray(0, 44)).toString("hex"),
    "01010600deadbeef00038000000000000000000000000000" + "0a010203" + "525400010203" + "00".repeat(10),
  );
  assert.equal(Buffer.from(bytes.subarray(236, 240)).toString("hex"), "63825363");
  assert.deepEqual(decodeMessage(bytes), base);
});

test("no message is shorter than BOOTP's 300 bytes", () => {
  assert.equal(encodeMessage({ ...base, options: new Map() }).bytes.length, 300);
});

test("options come in the order asked for, the others by code, relay agent information last — RFC 3046 §2.1", () => {
  const options = new Map([
    [82, Uint8Array.of(1, 0)],
    [12, Uint8Array.of(65)],
    [53, Uint8Array.of(2)],
    [51, Uint8Array.of(0, 0, 0, 9)],
    [3, Uint8Array.of(1, 2, 3, 4)],
  ]);
  const { bytes } = encodeMessage({ ...base, options }, { order: [53, 82, 51, 99] });
  assert.deepEqual([...decodeMessage(bytes).options.keys()], [53, 51, 3, 12, 82]);
});

test("an option of over 255 bytes is split and joined again — RFC 3396", () => {
  const long = Uint8Array.from({ length: 700 }, (_, at) => at & 255);
  const { bytes, omitted } = encodeMessage({ ...base, options: new Map([[43, long]]) }, { maximumSize: 1400 });
  assert.deepEqual(omitted, []);
  assert.deepEqual(decodeMessage(bytes).options.get(43), long);
});

test("what does not fit goes into file and sname when they are free — RFC 2132 §9.3", () => {
  const options = new Map(Array.from({ length: 40 }, (_, at) => [at + 100, new Uint8Array(9).fill(at)] as const));
  options.set(53, Uint8Array.of(2));
  options.set(82, Uint8Array.of(1, 1, 7));
  const { bytes, omitted } = encodeMessage({ ...base, sname: "", file: "", options }, { order: [53] });
  assert.ok(bytes.length <= 548);
  assert.deepEqual(omitted, []);
  const decoded = decodeMessage(bytes);
  assert.deepEqual(decoded.options.get(52), Uint8Array.of(3));
  for (const [code, value] of options) assert.deepEqual(decoded.options.get(code), value, `${code}`);
  assert.equal(decoded.file, "");
});

test("file and sname that are in use are left alone, and what has no room is named", () => {
  const options = new Map(Array.from({ length: 60 }, (_, at) => [at + 100, new Uint8Array(9).fill(at)] as const));
  const { bytes, omitted } = encodeMessage({ ...base, options });
  assert.ok(bytes.length <= 548);
  const decoded = decodeMessage(bytes);
  assert.equal(decoded.file, "file.efi");
  assert.equal(decoded.sname, "server");
  assert.ok(omitted.length > 0);
  assert.equal(decoded.options.size + omitted.length, 60);
});

test("relay agent information has its room in the options field even when nothing else has", () => {
  const options = new Map(Array.from({ length: 60 }, (_, at) => [at + 100, new Uint8Array(9).fill(at)] as const));
  options.set(82, new Uint8Array(40));
  const { bytes, omitted } = encodeMessage({ ...base, options });
  assert.ok(!omitted.includes(82));
  assert.equal([...decodeMessage(bytes).options.keys()].at(-1), 82);
});

test("an option may be empty, PADs may stand anywhere, END may be missing", () => {
  const { bytes } = encodeMessage({ ...base, options: new Map([[80, Uint8Array.of()]]) });
  assert.deepEqual(decodeMessage(bytes).options.get(80), Uint8Array.of());
  const loose = Uint8Array.from([...bytes.subarray(0, 240), 0, 0, 53, 1, 1, 0, 12, 1, 65]);
  assert.deepEqual([...decodeMessage(loose).options.keys()], [53, 12]);
});

test("options that RFC 2131 §4.1 puts into file and sname are read in that order", () => {
  const bytes = encodeMessage({
    ...base,
    file: "",
    sname: "",
    options: new Map([
      [52, Uint8Array.of(3)],
      [53, Uint8Array.of(1)],
    ]),
  }).bytes;
  const area = Uint8Array.from(bytes);
  area.set([52, 1, 3, 53, 1, 1, 12, 1, 65, 255], 240);
  area.set([12, 1, 66, 255], 108); // file
  area.set([12, 1, 67, 255], 44); // sname
  assert.equal(readOption(decodeMessage(area).options, "hostName"), "ABC");
});

test("bytes without the cookie are BOOTP without options", () => {
  const { bytes } = encodeMessage({ ...base, options: new Map() });
  bytes.fill(7, 236, 240);
  assert.equal(decodeMessage(bytes).options.size, 0);
});

test("a hardware address of InfiniBand has no bytes, one of over sixteen is malformed", () => {
  const { bytes } = encodeMessage({ ...base, htype: 32, chaddr: new Uint8Array(0) });
  assert.equal(decodeMessage(bytes).chaddr.length, 0);
  bytes[2] = 17;
  assert.throws(() => decodeMessage(bytes), MalformedFault);
});

test("anything at all is read or refused as malformed, and what is read encodes and reads the same", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 20260101);
  const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 20_000);
  const random = new SeededRandom(seed);
  let read = 0;
  for (let round = 0; round < rounds; round += 1) {
    const bytes = anyDhcp4(random);
    try {
      const message = decodeMessage(bytes);
      read += 1;
      for (const code of message.options.keys()) {
        const name = optionNameFromCode(code);
        if (name !== undefined && isOptionName(name)) tolerant(() => readOption(message.options, name));
      }
      tolerant(() => readClient(message));
      const options = new Map(message.options);
      options.delete(52);
      const again = encodeMessage({ ...message, options }, { order: [...options.keys()], maximumSize: 4000 });
      if (options.has(82)) continue; // moves to the end
      assert.deepEqual(decodeMessage(again.bytes), { ...message, options }, `seed ${seed}, round ${round}`);
    } catch (error) {
      assert.ok(isFault(error) && error.kind === "malformed", `seed ${seed}, round ${round}: ${String(error)}`);
    }
  }
  assert.ok(read > rounds / 10);
});

function tolerant(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof MalformedFault)) throw error;
  }
}
