import type { Config } from "../config/config.ts";
import { renderDnsmasq } from "../protocol/dhcp-server/dnsmasq.ts";
import { renderIsc } from "../protocol/dhcp-server/isc.ts";
import { renderKea } from "../protocol/dhcp-server/kea.ts";
import { architecturesOf, type StaticBoot } from "../protocol/dhcp-server/static-boot.ts";

/** For which servers a configuration can be written. */
export const dhcpServers: ReadonlyMap<string, (boot: StaticBoot) => string> = new Map([
  ["dnsmasq", renderDnsmasq],
  ["isc", renderIsc],
  ["kea", renderKea],
]);

/** What another DHCP server has to tell firmware, so that machines find this appliance. */
export function staticBoot({ boot }: Pick<Config, "boot">): StaticBoot {
  const { address } = boot.address;
  const http = `http://${address}:${boot.httpPort}`;
  const efi = { http: architecturesOf("efi", "x86_64", "http"), tftp: architecturesOf("efi", "x86_64", "tftp") };
  return {
    tftpServer: address,
    script: `${http}/boot.ipxe`,
    files: [
      { name: "bios", architectures: architecturesOf("bios", "i386", "tftp"), by: "tftp", file: boot.biosLoader },
      { name: "efi-x64", architectures: efi.tftp, by: "tftp", file: boot.uefiLoader },
      { name: "efi-x64-http", architectures: efi.http, by: "http", file: `${http}/loader/${boot.uefiLoader}` },
    ],
  };
}
