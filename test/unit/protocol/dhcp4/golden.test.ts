import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { isFault } from "../../../../src/core/fault.ts";
import { decodeMessage, encodeMessage } from "../../../../src/protocol/dhcp4/message.ts";
import { isOptionName, optionNameFromCode, readOption } from "../../../../src/protocol/dhcp4/options.ts";
import { readClient } from "../../../../src/service/dhcp-client.ts";

// build/test/unit/protocol/dhcp4 → the sources' test/golden
const directory = resolve(import.meta.dirname, "../../../../../test/golden/dhcp4");

function golden(name: string): Uint8Array {
  const lines = readFileSync(join(directory, name), "utf8")
    .split("\n")
    .filter((line) => !line.startsWith("#"));
  return Uint8Array.from(Buffer.from(lines.join("").replaceAll(" ", ""), "hex"));
}

const names = readdirSync(directory).filter((name) => name.endsWith(".hex"));

test("there are golden packets", () => assert.ok(names.length >= 15, `${names.length}`));

for (const name of names) {
  const bytes = golden(name);
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
    const { firmware } = readClient(decodeMessage(golden(name)));
    assert.deepEqual([firmware.program, firmware.architecture, firmware.http], [program, architecture, http]);
  });
}
