import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { APART, BadWire } from "./bad-wire.ts";
import { BootLab, SERVER, SERVER_PORT_HTTP } from "./boot-lab.ts";

/** A fifth of all packets is lost, others come twice, or later than those that were sent after them. */
const BAD = { lose: 20, double: 10, late: 20 };
const ADDRESS = ["ip -n site addr add 10.79.0.9/24 dev eth0"];

const root = mkdtempSync(join(tmpdir(), "ironrack-loss-"));
after(() => rmSync(root, { recursive: true, force: true }));
const file = randomBytes(4_000);
writeFileSync(join(root, "file"), file);
/** For clients that wait for each block alone, some for five seconds. */
const short = file.subarray(0, 1_500);
writeFileSync(join(root, "short"), short);

/** Runs each client to its end, all at once; each has written the file under its own name. */
async function allGet(
  lab: BootLab,
  seed: number,
  clients: Readonly<Record<string, readonly string[]>>,
  expected: Uint8Array,
): Promise<void> {
  await Promise.all(
    Object.entries(clients).map(async ([name, argv]) => {
      const { code, stderr } = await lab.enclosure.spawn("site", argv, { cwd: lab.directory }).ended;
      assert.equal(code, 0, `${name}, seed ${seed}: ${stderr}`);
      assert.ok(readFileSync(join(lab.directory, name)).equals(expected), `${name}, seed ${seed}`);
    }),
  );
}

/** atftp 0.8 ends when an OACK comes twice, which the loss of its ACK 0 causes too: whoever boots tries again. */
function atftp(what: string, name: string, ...options: readonly string[]): readonly string[] {
  const words = ["timeout 1", ...options].flatMap((option) => ["--option", option]);
  const get = ["atftp", ...words, "-g", "-r", what, "-l", name, SERVER];
  return ["sh", "-c", `for try in $(seq 30); do "$@" && exit; done; exit 1`, "sh", ...get];
}

test("over a wire that loses, doubles and reorders, every TFTP client gets the file whole, with windows of every size", async () => {
  await using lab = await BootLab.open({ tftpRoot: root }, [...ADDRESS, ...APART]);
  await using wire = await BadWire.open(lab, BAD);
  const windows = [2, 4, 8, 16, 32, 64].map(
    (size) => [`atftp${size}`, atftp("file", `atftp${size}`, `windowsize ${size}`)] as const,
  );
  const clients = {
    ...Object.fromEntries(windows),
    busybox: ["busybox", "tftp", "-g", "-b", "1428", "-r", "file", "-l", "busybox", SERVER],
  };
  const slow = {
    curl: ["curl", "-sS", "-m", "300", "--tftp-blksize", "1468", `tftp://${SERVER}/short`, "-o", "curl"],
    hpa: ["tftp", "-m", "binary", SERVER, "-c", "get", "short", "hpa"],
    "atftp-plain": ["atftp", "-g", "-r", "short", "-l", "atftp-plain", SERVER],
    atftp1: atftp("short", "atftp1", "windowsize 1"),
  };
  await Promise.all([allGet(lab, wire.seed, clients, file), allGet(lab, wire.seed, slow, short)]);
  const { lost, doubled, late } = await wire.counts();
  assert.ok(lost > 0 && doubled > 0 && late > 0, `the wire was good: ${lost}, ${doubled}, ${late}`);
  // Where the last ACK is lost, the server hears only later, or never, that the client has all.
  const used = (): ReadonlySet<unknown> => {
    const ends = lab.lines().filter(({ event }) => event === "tftp.done" || event === "tftp.failed");
    return new Set(ends.map((line) => line["windowsize"]));
  };
  const sizes = [1, 2, 4, 8, 16, 32, 64];
  await lab.until(() => sizes.every((size) => used().has(size)), `an end of each window size, seed ${wire.seed}`, 120);
});

test("over a wire that loses, doubles and reorders, HTTP gives files whole", async () => {
  await using lab = await BootLab.open({}, [...ADDRESS, ...APART]);
  const kernel = randomBytes(60_000);
  writeFileSync(join(lab.directory, "kernel"), kernel);
  await using wire = await BadWire.open(lab, BAD);
  const url = `http://${SERVER}:${SERVER_PORT_HTTP}/ramdisk/kernel`;
  const curl = (name: string): readonly [string, readonly string[]] => [
    name,
    ["curl", "-sS", "-m", "300", url, "-o", name],
  ];
  await allGet(lab, wire.seed, Object.fromEntries(["one", "two", "three"].map(curl)), kernel);
});

test("over a wire that doubles datagrams, every TFTP client gets the file whole, and no block is sent for each copy of an ACK", async () => {
  const long = randomBytes(200_000);
  writeFileSync(join(root, "long"), long);
  await using lab = await BootLab.open({ tftpRoot: root }, [...ADDRESS, ...APART]);
  await using wire = await BadWire.open(lab, { lose: 0, double: 30, late: 0 });
  const clients = {
    curl: ["curl", "-sS", "-m", "300", "--tftp-blksize", "1468", `tftp://${SERVER}/long`, "-o", "curl"],
    atftp: ["atftp", "-g", "-r", "long", "-l", "atftp", SERVER],
    busybox: ["busybox", "tftp", "-g", "-b", "1428", "-r", "long", "-l", "busybox", SERVER],
  };
  await allGet(lab, wire.seed, clients, long);
  const { transfers, doubled } = await wire.counts();
  const blocks = [1468, 512, 1428].reduce((sum, blksize) => sum + Math.floor(long.length / blksize) + 1, 0);
  assert.ok(doubled > blocks / 10, `the wire doubled ${doubled} packets only, seed ${wire.seed}`);
  // A copy of an ACK that was answered would double all that follows (RFC 1123 §4.2.3.1).
  assert.ok(
    transfers >= blocks && transfers < blocks * 1.2,
    `${transfers} datagrams for ${blocks} blocks, seed ${wire.seed}`,
  );
});

test("over a wire that loses, doubles and reorders, each of twenty-two DHCP clients gets an address of its own", async () => {
  const names = Array.from({ length: 22 }, (_, at) => `c${at}`);
  const layout = names.flatMap((name, at) => [
    `ip -n site link add w${at} type veth peer name ${name}`,
    `ip -n site link set w${at} master br1 up`,
    `ip -n site link set ${name} up`,
  ]);
  await using lab = await BootLab.open({ probe: true }, [...APART, ...layout]);
  await using wire = await BadWire.open(lab, BAD);
  const bound = join(lab.directory, "bound");
  const script = lab.script(
    "script.sh",
    `#!/bin/sh\n[ "$1" = bound ] && echo $interface $ip >> ${bound}\n[ "$reason" = BOUND ] && echo $interface $new_ip_address >> ${bound}\nexit 0\n`,
  );
  const config = lab.script("dhclient.conf", "initial-interval 1; backoff-cutoff 2; timeout 120;\n");
  await Promise.all(
    names.map(async (name, at) => {
      if (at < 20) {
        const udhcpc = ["busybox", "udhcpc", "-i", name, "-f", "-q", "-A", "1", "-t", "30", "-T", "1", "-s", script];
        return await lab.client(udhcpc);
      }
      const files = ["-cf", config, "-lf", `${bound}.${name}.leases`, "-pf", `${bound}.${name}.pid`];
      await lab.client(["dhclient", "-4", "-1", "-q", "-sf", script, ...files, name]);
      return await lab.client(["dhclient", "-4", "-x", "-q", "-sf", script, ...files, name]);
    }),
  );
  const lines = readFileSync(bound, "utf8").trim().split("\n");
  const addresses = lines.map((line) => line.split(" ")[1]);
  assert.equal(new Set(lines.map((line) => line.split(" ")[0])).size, 22, `seed ${wire.seed}: ${lines.join("; ")}`);
  assert.equal(new Set(addresses).size, 22, `seed ${wire.seed}: ${lines.join("; ")}`);
});
