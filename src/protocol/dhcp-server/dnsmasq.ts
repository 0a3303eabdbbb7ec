import { HTTP_CLIENT, type StaticBoot } from "./static-boot.ts";

/** A file for dnsmasq's conf-dir. @source dnsmasq(8): --dhcp-match, --dhcp-boot */
export function renderDnsmasq({ tftpServer, script, files }: StaticBoot): string {
  const lines = [
    "# What ironrack's machines boot, for dnsmasq's conf-dir; dhcp-range and the like are your own.",
    // Whether it can HTTP stands within option 175, where dhcp-match cannot look; nearly every iPXE can.
    "dhcp-match=set:ironrack-ipxe,175",
    `dhcp-boot=tag:ironrack-ipxe,${script}`,
  ];
  for (const { name, architectures, by, file } of files) {
    const tag = `ironrack-${name}`;
    for (const architecture of architectures) lines.push(`dhcp-match=set:${tag},option:client-arch,${architecture}`);
    if (by === "tftp") {
      lines.push(`dhcp-boot=tag:${tag},tag:!ironrack-ipxe,${file},,${tftpServer}`);
    } else {
      lines.push(`dhcp-boot=tag:${tag},tag:!ironrack-ipxe,${file}`);
      lines.push(`dhcp-option-force=tag:${tag},tag:!ironrack-ipxe,option:vendor-class,${HTTP_CLIENT}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
