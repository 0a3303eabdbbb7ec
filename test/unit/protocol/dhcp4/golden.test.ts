import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../../../../src/core/fault.ts";
import { decodeMessage, encodeMessage } from "../../../../src/protocol/dhcp4/message.ts";
import { isOptionName, optionNameFromCode, readOption } from "../../../../src/protocol/dhcp4/options.ts";
import { readClient } from "../../../../src/service/dhcp-client.ts";
import { goldenPackets } from "../../../golden/packets.ts";

const packets = goldenPackets("dhcp4");

test("there are golden packets", () => assert.ok(packets.size >= 15, `${packets.size}`));

for (const [name, bytes] of packets) {
  test(`${name} decodes and encodes to the same bytes`, () => {
    const message = decodeMessage(bytes);
    const again = encodeMessage(message, {
      order: [...message.options.keys()],
      minimumSize: bytes.length,
      maximumSize: bytes.length,
    });
    assert.deepEqual(again.omitted, []);
    assert.equal(Buffer.from(again.bytes).toString("hex"), Buffer.from(bytes).toString("hex"));
  });

  test(`${name}: every option that has a name is of its form`, () => {
    const { options } = decodeMessage(bytes);
    for (const code of options.keys()) {
      const option = optionNameFromCode(code);
      if (option !== undefined && isOptionName(option)) readOption(options, option);
    }
  });

  test(`${name}, cut at any length, is read or refused with the field that is missing`, () => {
    for (let length = 0; length < bytes.length; length += 1) {
      try {
        readClient(decodeMessage(bytes.subarray(0, length)));
      } catch (error) {
        assert.ok(isFault(error) && error.kind === "malformed", `${length}: ${String(error)}`);
      }
    }
  });
}

const FIRMWARE: readonly (readonly [string, string, string, boolean])[] = [
  ["ipxe-rom-bios-discover.hex", "ipxe", "x86 BIOS", true],
  ["ipxe-snponly-uefi-discover.hex", "ipxe", "x64 UEFI", true],
  ["ovmf-pxe-discover.hex", "pxe", "x64 UEFI", false],
  ["ovmf-http-discover.hex", "uefi-http", "x64 UEFI, HTTP", true],
  ["aavmf-pxe-discover.hex", "pxe", "ARM 64-bit UEFI", false],
  ["aavmf-http-discover.hex", "uefi-http", "ARM 64-bit UEFI, HTTP", true],
  ["u-boot-discover.hex", "u-boot", "ARM 64-bit U-Boot", false],
  ["u-boot-efi-discover.hex", "pxe", "ARM 64-bit UEFI", false],
  ["systemd-networkd-discover.hex", "system", "none", false],
  ["udhcpc-discover.hex", "system", "none", false],
  ["dhclient-discover.hex", "system", "none", false],
  ["dhcpcd-discover.hex", "system", "none", false],
];
for (const [name, program, architecture, http] of FIRMWARE) {
  test(`${name} is known as ${program}, ${architecture}`, () => {
    const { firmware } = readClient(decodeMessage(packets.get(name) ?? assert.fail(name)));
    assert.deepEqual([firmware.program, firmware.architecture, firmware.http], [program, architecture, http]);
  });
}
