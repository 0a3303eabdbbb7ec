/**
 * Wild datagrams at the running DHCP and TFTP servers, for as long as one likes: `npm run fuzz -- dhcp4|dhcp6|tftp [COUNT] [SEED]`. A well-formed
 * client asks after each hundred of them and must be answered; at the end no fault was logged and the memory has not grown.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { BootLab } from "../peer/boot-lab.ts";
import { IPV6, LAYOUT } from "../peer/ipv6-lab.ts";

const REPORTS = 10;
/** Over the first third, in which pools and caches fill. */
const GROWTH_MIB = 24;

const [family = "", count = "1000000", seed = String(process.pid)] = process.argv.slice(2);
assert.ok(family === "dhcp4" || family === "dhcp6" || family === "tftp", "say dhcp4, dhcp6 or tftp");
const sender = resolve(import.meta.dirname, family === "tftp" ? "tftp-sender.js" : "datagram-sender.js");
const argv = [process.execPath, sender, ...(family === "tftp" ? [] : [family])];

await using lab = await BootLab.open({ ipv6: IPV6, onDisk: true, logLevel: "warn" }, [
  ...LAYOUT,
  "ip -n site addr add 10.79.0.9/24 dev eth0",
  // TFTP's clients.
  "ip -n site route add local 10.79.1.0/24 dev lo",
  "ip route add 10.79.1.0/24 dev br0",
]);
const pid = await lab.serverPid();
const memory = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
const sizes: number[] = [];
const each = Math.ceil(Number(count) / REPORTS);
for (let part = 0; part < REPORTS; part += 1) {
  const own = Number(seed) * REPORTS + part;
  await lab.client([...argv, String(each), String(own)]);
  sizes.push(memory());
  process.stdout.write(`${family}: ${each * (part + 1)} datagrams, seed ${own}, ${sizes.at(-1)?.toFixed(0)} MiB\n`);
}
const faults = lab.lines().filter((line) => line["level"] === "error" || line["code"] === "internal");
assert.deepEqual(faults, [], `seed ${seed}`);
const warm = Math.max(...sizes.slice(0, Math.ceil(REPORTS / 3)));
const last = sizes.at(-1) ?? 0;
assert.ok(last < warm + GROWTH_MIB, `memory grew from ${warm} to ${last} MiB, seed ${seed}`);
process.stdout.write(
  `${family}: each hundred followed by an answer; ${warm.toFixed(0)} MiB after a third, ${last.toFixed(0)} at the end\n`,
);
