import assert from "node:assert/strict";
import { test } from "node:test";
import { MalformedFault } from "../../../../src/core/fault.ts";
import { negotiate } from "../../../../src/protocol/tftp/negotiation.ts";
import { decodeTftp, encodeTftp, type TftpPacket } from "../../../../src/protocol/tftp/packet.ts";
import { goldenPackets } from "../../../golden/packets.ts";

const packets = goldenPackets("tftp");

function request(name: string): Extract<TftpPacket, { readonly kind: "rrq" | "wrq" }> {
  const packet = decodeTftp(packets.get(name) ?? assert.fail(name));
  assert.ok(packet.kind === "rrq");
  return packet;
}

for (const [name, bytes] of packets) {
  test(`${name} decodes, encodes to the same bytes, and cut at any length is read or refused`, () => {
    const again = Buffer.from(encodeTftp(request(name))).toString("latin1");
    // Modes and options are the same in any case.
    assert.equal(again.toLowerCase(), Buffer.from(bytes).toString("latin1").toLowerCase());
    for (let length = 0; length < bytes.length; length += 1) {
      try {
        decodeTftp(bytes.subarray(0, length));
      } catch (error) {
        assert.ok(error instanceof MalformedFault, `${length}: ${String(error)}`);
      }
    }
  });
}

/** File, and what is answered for one of 5000 bytes. */
const ANSWERS: readonly (readonly [string, string, string])[] = [
  ["atftp.hex", "file", "tsize 5000, timeout 3, blksize 1468, windowsize 16"],
  ["busybox.hex", "file", "blksize 1024, tsize 5000"],
  ["curl.hex", "file", "tsize 5000, blksize 1468, timeout 6"],
  ["grub.hex", "/grub/grub.cfg", "blksize 1024, tsize 5000"],
  ["ipxe.hex", "undionly.kpxe", "blksize 1432, tsize 5000"],
  ["ovmf-pxe.hex", "snponly.efi", "tsize 5000, blksize 1468, windowsize 4"],
  ["ovmf-pxe-2.hex", "snponly.efi", "blksize 1468, windowsize 4"],
  ["pxelinux.hex", "ldlinux.c32", "tsize 5000, blksize 1408"],
  ["shim.hex", "grubx64.efi", "blksize 512, windowsize 4"],
  ["tftp-hpa.hex", "file", ""],
  ["u-boot.hex", "pxelinux.cfg/01-52-54-00-79-00-77", "timeout 5, blksize 1468"],
];
for (const [name, file, answer] of ANSWERS) {
  test(`${name} asks for ${file} and is answered: ${answer === "" ? "its first block" : answer}`, () => {
    const { file: asked, options } = request(name);
    const limits = { blksize: 1468, windowsize: 64 };
    const answered = [...negotiate(options, { limits, size: 5000 }).answer].map(
      ([option, value]) => `${option} ${value}`,
    );
    assert.deepEqual([asked, answered.join(", ")], [file, answer]);
  });
}

test("every recorded request has its answer told here", () => {
  assert.deepEqual(ANSWERS.map(([name]) => name).sort(), [...packets.keys()].sort());
});
