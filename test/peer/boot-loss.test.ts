import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { BootLab, SERVER } from "./boot-lab.ts";

/** A fifth of all datagrams that arrive, on either side, are lost: by nftables, as this kernel may have no netem. */
const LOSS = ["", "ip netns exec site "].flatMap((where) => [
  `${where}nft add table ip loss`,
  `${where}nft add chain ip loss arrive '{ type filter hook input priority 0; }'`,
  `${where}nft add rule ip loss arrive meta l4proto udp numgen random mod 100 '<' 20 drop`,
]);

const root = mkdtempSync(join(tmpdir(), "ironrack-loss-"));
after(() => rmSync(root, { recursive: true, force: true }));
const file = randomBytes(8_000);
writeFileSync(join(root, "file"), file);

test("over a wire that loses a fifth, every TFTP client gets the file whole", async () => {
  await using lab = await BootLab.open({ tftpRoot: root }, ["ip -n site addr add 10.79.0.9/24 dev eth0", ...LOSS]);
  const atftp8 = [
    "atftp",
    "--option",
    "windowsize 8",
    "--option",
    "timeout 1",
    "-g",
    "-r",
    "file",
    "-l",
    "atftp8",
    SERVER,
  ];
  const clients: Readonly<Record<string, readonly string[]>> = {
    curl: ["curl", "-sS", "-m", "300", "--tftp-blksize", "1468", `tftp://${SERVER}/file`, "-o", "curl"],
    // Without options: atftp 0.8 ends when an OACK comes twice, which the loss of its ACK 0 causes.
    atftp1: ["atftp", "-g", "-r", "file", "-l", "atftp1", SERVER],
    atftp8: ["sh", "-c", `for try in 1 2 3 4 5 6; do "$@" && exit; done`, "sh", ...atftp8],
    busybox: ["busybox", "tftp", "-g", "-b", "1428", "-r", "file", "-l", "busybox", SERVER],
  };
  await Promise.all(
    Object.entries(clients).map(async ([name, argv]) => {
      const { code, stderr } = await lab.enclosure.spawn("site", argv, { cwd: lab.directory }).ended;
      assert.equal(code, 0, `${name}: ${stderr}`);
      assert.ok(readFileSync(join(lab.directory, name)).equals(file), name);
    }),
  );
});

/** Three of ten datagrams on the wire come twice or more, either way; what the server's transfers send is counted before. */
const TWICE = [
  { enter: "", device: "wire0" },
  { enter: "ip netns exec site ", device: "eth0" },
].flatMap(({ enter, device }) => [
  `${enter}nft add table netdev twice`,
  `${enter}nft add chain netdev twice leave '{ type filter hook egress device ${device} priority 0; }'`,
  `${enter}nft add rule netdev twice leave meta l4proto udp numgen random mod 100 '<' 30 counter dup to ${device}`,
]);
const COUNT = [
  "nft add table ip count",
  "nft add counter ip count sent",
  "nft add chain ip count leave '{ type filter hook output priority 0; }'",
  "nft add rule ip count leave udp sport '>' 1023 counter name sent",
];

test("over a wire that doubles datagrams, every TFTP client gets the file whole, and no block is sent for each copy of an ACK", async () => {
  const long = randomBytes(200_000);
  writeFileSync(join(root, "long"), long);
  const layout = ["ip -n site addr add 10.79.0.9/24 dev eth0", ...TWICE, ...COUNT];
  await using lab = await BootLab.open({ tftpRoot: root }, layout);
  const clients: Readonly<Record<string, { readonly blksize: number; readonly argv: readonly string[] }>> = {
    curl: {
      blksize: 1468,
      argv: ["curl", "-sS", "-m", "300", "--tftp-blksize", "1468", `tftp://${SERVER}/long`, "-o", "curl"],
    },
    atftp: { blksize: 512, argv: ["atftp", "-g", "-r", "long", "-l", "atftp", SERVER] },
    busybox: { blksize: 1428, argv: ["busybox", "tftp", "-g", "-b", "1428", "-r", "long", "-l", "busybox", SERVER] },
  };
  for (const [name, { argv }] of Object.entries(clients)) {
    const { code, stderr } = await lab.enclosure.spawn("site", argv, { cwd: lab.directory }).ended;
    assert.equal(code, 0, `${name}: ${stderr}`);
    assert.ok(readFileSync(join(lab.directory, name)).equals(long), name);
  }
  const counted = async (...table: readonly string[]): Promise<number> => {
    const { stdout } = await lab.enclosure.run("rack", ["nft", "list", "table", ...table]);
    return Number(/packets (\d+)/.exec(stdout)?.[1]);
  };
  const sent = await counted("ip", "count");
  assert.ok((await counted("netdev", "twice")) > sent / 10, "the wire doubled nothing");
  const blocks = Object.values(clients).reduce((sum, { blksize }) => sum + Math.floor(long.length / blksize) + 1, 0);
  // A copy of an ACK that was answered would double all that follows (RFC 1123 §4.2.3.1).
  assert.ok(sent >= blocks && sent < blocks * 1.2, `${sent} datagrams for ${blocks} blocks`);
});

test("over a wire that loses a fifth, each of twenty DHCP clients gets an address of its own", async () => {
  const wires = Array.from({ length: 20 }, (_, at) => [
    `ip link add w${at} type veth peer name c${at} netns site`,
    `ip link set w${at} master br0 up`,
    `ip -n site link set c${at} up`,
  ]);
  await using lab = await BootLab.open({ probe: true }, [...wires.flat(), ...LOSS]);
  const script = lab.script(
    "udhcpc.sh",
    `#!/bin/sh\n[ "$1" = bound ] && echo $ip >> ${join(lab.directory, "bound")}\nexit 0\n`,
  );
  await Promise.all(
    wires.map((_, at) =>
      lab.client(["busybox", "udhcpc", "-i", `c${at}`, "-f", "-q", "-A", "1", "-t", "30", "-T", "1", "-s", script]),
    ),
  );
  const addresses = readFileSync(join(lab.directory, "bound"), "utf8").trim().split("\n");
  assert.equal(addresses.length, 20);
  assert.equal(new Set(addresses).size, 20);
});
