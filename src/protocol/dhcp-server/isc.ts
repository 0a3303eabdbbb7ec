import { HTTP_CLIENT, type StaticBoot } from "./static-boot.ts";

/** A file for ISC dhcpd's `include`, outside of every subnet. @source dhcp-options(5), dhcp-eval(5) */
export function renderIsc({ tftpServer, script, files }: StaticBoot): string {
  const lines = [
    "# What ironrack's machines boot, to be included in dhcpd.conf before the subnets; those are your own.",
    "option ironrack-architecture code 93 = unsigned integer 16;",
    "option space ironrack-ipxe;",
    "option ironrack-ipxe.http code 19 = unsigned integer 8;",
    "option ironrack-ipxe-options code 175 = encapsulate ironrack-ipxe;",
    `next-server ${tftpServer};`,
    "if exists ironrack-ipxe.http {",
    `  filename "${script}";`,
  ];
  for (const { architectures, by, file } of files) {
    const test = architectures.map((one) => `option ironrack-architecture = ${hex(one)}`).join(" or ");
    lines.push(`} elsif ${test} {`, `  filename "${file}";`);
    if (by === "http") lines.push(`  option vendor-class-identifier "${HTTP_CLIENT}";`);
  }
  return `${[...lines, "}"].join("\n")}\n`;
}

/** As dhcpd writes data: 00:10 */
function hex(architecture: number): string {
  return architecture.toString(16).padStart(4, "0").replace(/^../, "$&:");
}
