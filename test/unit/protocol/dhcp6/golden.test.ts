import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../../../../src/core/fault.ts";
import { decodeMessage, encodeMessage } from "../../../../src/protocol/dhcp6/message.ts";
import { dhcp6Options, type OptionName, readOptions } from "../../../../src/protocol/dhcp6/options.ts";
import { type Dhcp6Client, readClient6, unpack } from "../../../../src/service/dhcp6-client.ts";
import { goldenPackets } from "../../../golden/packets.ts";

const packets = goldenPackets("dhcp6");

function client(name: string): Dhcp6Client {
  const delivered = unpack(packets.get(name) ?? assert.fail(name));
  assert.ok(delivered !== null);
  return readClient6(delivered, "fe80::1");
}

test("there are golden packets", () => assert.ok(packets.size >= 8, `${packets.size}`));

for (const [name, bytes] of packets) {
  test(`${name} decodes and encodes to the same bytes, and every option that has a name is of its form`, () => {
    const message = decodeMessage(bytes);
    assert.equal(Buffer.from(encodeMessage(message)).toString("hex"), Buffer.from(bytes).toString("hex"));
    for (const option of Object.keys(dhcp6Options) as OptionName[]) readOptions(message.options, option);
  });

  test(`${name}, cut at any length, is read or refused with the field that is missing`, () => {
    for (let length = 0; length < bytes.length; length += 1) {
      try {
        const delivered = unpack(bytes.subarray(0, length));
        if (delivered !== null) readClient6(delivered, "fe80::1");
      } catch (error) {
        assert.ok(isFault(error) && error.kind === "malformed", `${length}: ${String(error)}`);
      }
    }
  });
}

const FIRMWARE: readonly (readonly [string, string, string])[] = [
  ["dhclient-solicit.hex", "system", "none"],
  ["dhcpcd-solicit.hex", "system", "none"],
  ["ovmf-pxe-solicit.hex", "pxe", "x64 UEFI"],
  ["ovmf-pxe-request.hex", "pxe", "x64 UEFI"],
  ["ipxe-snponly-uefi-solicit.hex", "ipxe", "x64 UEFI"],
  ["ipxe-snponly-uefi-request.hex", "ipxe", "x64 UEFI"],
];
for (const [name, program, architecture] of FIRMWARE) {
  test(`${name} is known as ${program}, ${architecture}, and asks for an address`, () => {
    const { firmware, associations } = client(name);
    assert.deepEqual([firmware.program, firmware.architecture, associations.length], [program, architecture, 1]);
  });
}
