import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SystemClock } from "../src/core/clock.ts";
import type { Json } from "../src/core/json.ts";
import { seconds } from "../src/core/units.ts";
import type { BootServerOptions } from "../test/peer/boot-server.ts";
import { unpackedPackage } from "../test/peer/unpacked-package.ts";
import { Enclosure } from "../test/rack/enclosure.ts";

/**
 * TFTP servers side by side: one client program (atftp) for all, 64 MiB in blocks of 1468 over loopback, one client at a
 * time, with the windows that each server knows; and the processor time of each. All in one run, because only ratios of
 * one run count.
 */
const SERVER = "127.0.0.1";
const SIZE = 64 * 1024 * 1024;
const BLKSIZE = 1468;

interface Server {
  readonly name: string;
  /** Servers that ignore windowsize are asked for 1 alone. */
  readonly windows: readonly number[];
  readonly argv: (directory: string) => readonly string[];
}

const clock = new SystemClock();

const ironrack: Server = {
  name: "ironrack",
  windows: [1, 16, 64],
  argv: (directory) => {
    const empty = join(directory, "empty");
    writeFileSync(empty, "");
    const options: BootServerOptions = {
      interface: "lo",
      address: SERVER,
      network: "127.0.0.0",
      prefixLength: 8,
      pool: ["127.0.1.0", "127.0.1.9"],
      leaseTime_s: 3600,
      unicast: false,
      probe: false,
      proxy: false,
      nodes: [],
      isoDirectories: [],
      discovery: false,
      loaders: {},
      tftpRoot: directory,
      kernel: empty,
      initrd: empty,
      kernelArguments: "",
      httpPort: 8080,
      storeDirectory: null,
      logLevel: "info",
    };
    return [process.execPath, resolve(import.meta.dirname, "../test/peer/boot-server.js"), JSON.stringify(options)];
  },
};

const dnsmasq: Server = {
  name: "dnsmasq",
  windows: [1],
  argv: (directory) => [
    "dnsmasq",
    "-k",
    "-p",
    "0",
    "--conf-file=/dev/null",
    "--user=root",
    "--enable-tftp",
    `--tftp-root=${directory}`,
    `--listen-address=${SERVER}`,
    "--bind-interfaces",
  ],
};

/** Unpacked, not installed: the package would start a service. */
const atftpd: Server = {
  name: "atftpd",
  windows: [1, 16, 64],
  argv: (directory) => [
    join(unpackedPackage("atftpd"), "usr/sbin/atftpd"),
    "--daemon",
    "--no-fork",
    "--user",
    "root.root",
    "--bind-address",
    SERVER,
    "--maxthread",
    "100",
    directory,
  ],
};

/** Processor time of a process so far, all threads, in seconds. */
function cpuTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100; // USER_HZ is 100
}

async function benchServer(server: Server): Promise<Json> {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-bench-tftp-"));
  const contents = randomBytes(SIZE);
  writeFileSync(join(directory, "file"), contents);
  await using lab = await Enclosure.open([], directory);
  await using running = lab.spawn("rack", server.argv(directory), { logFile: join(directory, "log") });
  await clock.sleep(seconds(2));
  const pid = await running.pid();
  if (pid === undefined) throw new Error(`${server.name} has ended:\n${readFileSync(join(directory, "log"), "utf8")}`);
  const runs: Json[] = [];
  for (const window of server.windows) {
    const got = join(directory, "got");
    const options = ["--option", `blksize ${BLKSIZE}`, ...(window === 1 ? [] : ["--option", `windowsize ${window}`])];
    const cpu = cpuTime(pid);
    const started = clock.now();
    await lab.run("rack", ["atftp", ...options, "-g", "-r", "file", "-l", got, SERVER]);
    const elapsed = (clock.now() - started) / 1000;
    const used = cpuTime(pid) - cpu;
    if (!readFileSync(got).equals(contents))
      throw new Error(`${server.name}, window ${window}: the file arrived damaged`);
    rmSync(got);
    runs.push({
      window,
      mb_per_s: Math.round(SIZE / elapsed / 1e5) / 10,
      cpu_s_per_gb: Math.round((used / SIZE) * 1e11) / 100,
    });
  }
  const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
  return { server: server.name, rss_mb: Math.round(rss / 1024), runs };
}

export async function benchTftp(only: readonly string[]): Promise<Json> {
  const rows: Json[] = [];
  for (const server of [ironrack, dnsmasq, atftpd]) {
    if (only.length > 0 && !only.includes(server.name)) continue;
    const row = await benchServer(server);
    process.stderr.write(`${JSON.stringify(row)}\n`);
    rows.push(row);
  }
  return rows;
}
