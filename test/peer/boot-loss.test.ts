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
