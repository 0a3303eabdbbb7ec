import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIpv4Address, parseMacAddress } from "../../../src/core/brand.ts";
import { dhcpServers, staticBoot } from "../../../src/cli/dhcp-config.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { planBoot } from "../../../src/domain/boot-plan.ts";
import { firmwareOf } from "../../../src/service/dhcp-firmware.ts";
import { bootSettings } from "../../boot-settings.ts";

const config = loadConfig("appliance.conf");
const { address } = config.boot.address;
const boot = staticBoot(config);

test("what another server tells each firmware is what the boot plan would have told it", () => {
  const loaders = [
    { platform: "bios" as const, processor: "i386" as const, file: config.boot.biosLoader },
    { platform: "efi" as const, processor: "x86_64" as const, file: config.boot.uefiLoader },
  ];
  const { policy } = bootSettings({ policy: { discovery: true, loaders, signedLoaders: [], ramdisks: ["x86_64"] } });
  for (const { name, architectures, by, file } of boot.files) {
    assert.ok(architectures.length > 0, name);
    for (const architecture of architectures) {
      const program = by === "http" ? "HTTPClient" : "PXEClient";
      const { network } = planBoot({
        mac: parseMacAddress("52:54:00:12:34:56"),
        node: undefined,
        port: undefined,
        volume: { kind: "none" },
        firmware: firmwareOf({
          vendorClass: `${program}:Arch:${String(architecture).padStart(5, "0")}`,
          userClass: undefined,
          architectures: [architecture],
          ipxe: undefined,
        }),
        services: { address, http: `http://${address}:${config.boot.httpPort}`, https: null, apiUrl: "" },
        secret: "",
        policy,
      });
      assert.ok(network.kind === "file", name);
      assert.deepEqual([network.file, network.by, network.server], [file, by, boot.tftpServer], name);
    }
  }
});

test("each server's configuration names every file and the script, and nothing twice", () => {
  assert.deepEqual([...dhcpServers.keys()], ["dnsmasq", "isc", "kea"]);
  for (const [server, render] of dhcpServers) {
    const text = render({ ...boot, tftpServer: parseIpv4Address("192.0.2.7") });
    for (const file of [boot.script, ...boot.files.map((one) => one.file)]) {
      assert.ok(text.includes(file), `${server}: ${file}`);
    }
    const lines = text.split("\n").filter((line) => line.includes("ironrack-efi-x64-http") || line.includes("elsif"));
    assert.equal(new Set(lines).size, lines.length, server);
    assert.ok(text.includes("192.0.2.7") && text.endsWith("\n"), server);
  }
});
