import assert from "node:assert/strict";
import { test } from "node:test";
import { MalformedFault } from "../../../../src/core/fault.ts";
import { SeededRandom } from "../../../../src/core/random.ts";
import { rootedName } from "../../../../src/protocol/tftp/file-name.ts";
import { negotiate } from "../../../../src/protocol/tftp/negotiation.ts";
import { toNetascii } from "../../../../src/protocol/tftp/netascii.ts";
import { decodeTftp, encodeTftp, type TftpPacket } from "../../../../src/protocol/tftp/packet.ts";
import { anyTftpReply, anyTftpRequest } from "../../../fuzz/tftp-datagram.ts";

const PACKETS: readonly (readonly [string, TftpPacket, string])[] = [
  [
    "RRQ",
    { kind: "rrq", file: "a/b", mode: "octet", options: new Map([["tsize", "0"]]) },
    "0001612f62006f63746574007473697a65003000",
  ],
  ["WRQ", { kind: "wrq", file: "x", mode: "netascii", options: new Map() }, "000278006e6574617363696900"],
  ["DATA", { kind: "data", block: 65535, bytes: Uint8Array.of(1, 2) }, "0003ffff0102"],
  ["empty DATA", { kind: "data", block: 1, bytes: Uint8Array.of() }, "00030001"],
  ["ACK", { kind: "ack", block: 7 }, "00040007"],
  ["ERROR", { kind: "error", code: 1, message: "no" }, "000500016e6f00"],
  [
    "OACK",
    {
      kind: "oack",
      options: new Map([
        ["blksize", "1468"],
        ["tsize", "9"],
      ]),
    },
    "0006626c6b73697a6500313436380074" + "73697a65003900",
  ],
];
for (const [name, packet, hex] of PACKETS) {
  test(`${name} encodes and decodes, and is refused when it is cut`, () => {
    const bytes = encodeTftp(packet);
    assert.equal(Buffer.from(bytes).toString("hex"), hex);
    assert.deepEqual(decodeTftp(bytes), packet);
    for (let length = 0; length < bytes.length; length += 1) {
      try {
        decodeTftp(bytes.subarray(0, length));
      } catch (error) {
        assert.ok(error instanceof MalformedFault, `${length}`);
      }
    }
  });
}

test("option names and modes are the same in any case, the first of two stands, and trailing NULs mean nothing", () => {
  const packet = decodeTftp(Buffer.from("\0\u0001f\0OcTeT\0BLKSIZE\x001024\0blksize\x00512\0\0", "latin1"));
  assert.deepEqual(packet, { kind: "rrq", file: "f", mode: "octet", options: new Map([["blksize", "1024"]]) });
});

test("anything at all is read or refused as malformed", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 3);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 50_000; round += 1) {
    const bytes = round % 2 === 0 ? anyTftpRequest(random) : anyTftpReply(random);
    try {
      const packet = decodeTftp(bytes);
      if (packet.kind !== "error")
        assert.deepEqual(decodeTftp(encodeTftp(packet)), packet, `seed ${seed}, round ${round}`);
    } catch (error) {
      assert.ok(error instanceof MalformedFault, `seed ${seed}, round ${round}: ${String(error)}`);
    }
  }
});

test("options are answered within our limits, never unasked, and nonsense is as if it had not been asked — RFC 2347", () => {
  const ask = (
    options: Readonly<Record<string, string>>,
    size: number | null = 100,
  ): readonly (readonly [string, string])[] => [
    ...negotiate(new Map(Object.entries(options)), { limits: { blksize: 1468, windowsize: 16 }, size }).answer,
  ];
  assert.deepEqual(ask({ tsize: "0", blksize: "65464", windowsize: "200", timeout: "9" }), [
    ["tsize", "100"],
    ["blksize", "1468"],
    ["windowsize", "16"],
    ["timeout", "9"],
  ]);
  assert.deepEqual(ask({ blksize: "7", windowsize: "0", timeout: "256", multicast: "" }), []);
  assert.deepEqual(ask({ blksize: "-1", tsize: "1e3", timeout: "0x10", windowsize: "99999999999999999999" }), []);
  assert.deepEqual(ask({ tsize: "0" }, null), []);
  assert.deepEqual(ask({}), []);
});

test("netascii: LF becomes CR LF, CR becomes CR NUL", () => {
  assert.equal(Buffer.from(toNetascii(Buffer.from("a\nb\rc\r\n"))).toString("latin1"), "a\r\nb\r\0c\r\0\r\n");
  const plain = Uint8Array.of(1, 2);
  assert.equal(toNetascii(plain), plain);
});

test("names are taken below the root or not at all", () => {
  assert.equal(rootedName("/grub//grub.cfg"), "grub/grub.cfg");
  assert.equal(rootedName("\\boot\\bcd"), "boot/bcd");
  // As U-Boot reads PXELINUX's mark of the root.
  assert.equal(rootedName("pxelinux.cfg/::ramdisk/kernel"), "ramdisk/kernel");
  for (const name of [
    "",
    "/",
    "../x",
    "a/../b",
    "a/./b",
    ".hidden",
    "a\0b",
    "a\nb",
    "é",
    "a::../b",
    "::",
    "x".repeat(256),
    "..\\x",
  ])
    assert.equal(rootedName(name), null, name);
});
