import { copyFileSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SystemClock } from "../src/core/clock.ts";
import { millis, seconds } from "../src/core/units.ts";
import { Child } from "../test/rack/child.ts";
import { Enclosure } from "../test/rack/enclosure.ts";
import type { BootServerOptions } from "../test/peer/boot-server.ts";
import { unpackedPackage } from "../test/peer/unpacked-package.ts";
import { compare, type Goal, type Report } from "./comparison.ts";

/**
 * DHCP servers side by side: the highest rate of DISCOVER, OFFER, REQUEST, ACK that perfdhcp sees with under 1 % lost, as
 * a relay with 1000 clients, each lease durable before its ACK; and the processor time of each. All in one run, because
 * only ratios of one run count.
 */
const SERVER = "10.78.0.1";
const CLIENT = "10.78.0.2";
const DURATION_S = 3;
const MOST_LOST = 1;
/** Less than any server's limit but dnsmasq's. */
const WARM_RATE = 3000;
/** perfdhcp shares the processors with the server and loses packets when it is not scheduled in time; two of three runs count. */
const TRIES = 3;

interface Server {
  readonly name: string;
  readonly argv: (directory: string) => readonly string[];
  readonly env?: (directory: string) => Readonly<Record<string, string>>;
}

interface Run {
  readonly rate: number;
  /** Exchanges that were complete, per second. */
  readonly done: number;
  readonly lost_percent: number;
  readonly cpu_ms_per_exchange: number;
}

const clock = new SystemClock();

function ironrack(logLevel: "info" | "warn"): Server {
  return {
    name: logLevel === "info" ? "ironrack" : "ironrack, no log line per answer",
    argv: (directory) => {
      const empty = join(directory, "empty");
      writeFileSync(empty, "");
      const options: BootServerOptions = {
        interface: "veth0",
        address: SERVER,
        network: "10.78.0.0",
        prefixLength: 16,
        pool: ["10.78.1.0", "10.78.200.255"],
        leaseTime_s: 3600,
        unicast: false,
        probe: true,
        proxy: false,
        nodes: [],
        discovery: false,
        loaders: {},
        isoDirectories: [],
        tftpRoot: null,
        kernel: empty,
        initrd: empty,
        kernelArguments: "",
        httpPort: 8080,
        storeDirectory: join(directory, "store"),
        logLevel,
      };
      return [process.execPath, resolve(import.meta.dirname, "../test/peer/boot-server.js"), JSON.stringify(options)];
    },
  };
}

function kea(threads: number): Server {
  return {
    name: threads === 1 ? "kea, one thread" : `kea, ${threads} threads`,
    argv: (directory) => {
      const config = join(directory, "kea.json");
      writeFileSync(
        config,
        JSON.stringify({
          Dhcp4: {
            "interfaces-config": { interfaces: ["veth0"], "dhcp-socket-type": "udp" },
            "lease-database": { type: "memfile", persist: true, name: join(directory, "leases.csv") },
            "valid-lifetime": 3600,
            "multi-threading": {
              "enable-multi-threading": threads > 1,
              "thread-pool-size": threads,
              "packet-queue-size": 64,
            },
            subnet4: [{ subnet: "10.78.0.0/16", pools: [{ pool: "10.78.1.0 - 10.78.200.255" }] }],
            loggers: [
              { name: "kea-dhcp4", severity: "WARN", output_options: [{ output: join(directory, "kea.log") }] },
            ],
          },
        }),
      );
      return [join(unpackedPackage("kea-dhcp4-server"), "usr/sbin/kea-dhcp4"), "-c", config];
    },
    // Of its own: a PID file that another left behind keeps Kea from starting.
    env: (directory) => ({ KEA_PIDFILE_DIR: directory, KEA_LOCKFILE_DIR: directory }),
  };
}

const dnsmasq: Server = {
  name: "dnsmasq",
  argv: (directory) => [
    "dnsmasq",
    "-k",
    "-p",
    "0",
    "-i",
    "veth0",
    "--no-ping",
    "--quiet-dhcp",
    "--dhcp-authoritative",
    "--user=root",
    "--conf-file=/dev/null",
    "--dhcp-lease-max=60000",
    `--dhcp-leasefile=${join(directory, "leases")}`,
    "--dhcp-range=10.78.1.0,10.78.200.255,255.255.0.0,1h",
  ],
};

/** Processor time of a process so far, all threads, in milliseconds. */
function cpuTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10; // USER_HZ is 100
}

async function perfdhcp(
  lab: Enclosure,
  rate: number,
  time_s: number,
): Promise<{ readonly done: number; readonly lost: number }> {
  const argv = [
    "perfdhcp",
    "-4",
    "-l",
    CLIENT,
    "-r",
    String(rate),
    "-R",
    "1000",
    "-p",
    String(time_s),
    "-W",
    "500000",
    SERVER,
  ];
  const { stdout } = await lab.spawn("site", argv).ended;
  const sent = /DISCOVER-OFFER\*\*\*[\s\S]*?sent packets: (\d+)/.exec(stdout)?.[1];
  const acks = /REQUEST-ACK\*\*\*[\s\S]*?received packets: (\d+)/.exec(stdout)?.[1];
  if (sent === undefined || acks === undefined) throw new Error(`perfdhcp said:\n${stdout}`);
  return { done: Number(acks), lost: Number(sent) - Number(acks) };
}

async function measure(lab: Enclosure, server: Child, rate: number): Promise<Run> {
  const pid = await server.pid();
  if (pid === undefined) throw new Error("the server has ended");
  const before = cpuTime(pid);
  const { done, lost } = await perfdhcp(lab, rate, DURATION_S);
  const cpu = cpuTime(pid) - before;
  return {
    rate,
    done: Math.round(done / DURATION_S),
    lost_percent: Math.round((10_000 * lost) / Math.max(1, done + lost)) / 100,
    cpu_ms_per_exchange: Math.round((1000 * cpu) / Math.max(1, done)) / 1000,
  };
}

function isHeld(run: Run): boolean {
  return run.lost_percent < MOST_LOST;
}

/** Runs at one rate until most of `TRIES` agree. */
async function tryRate(lab: Enclosure, server: Child, rate: number): Promise<readonly Run[]> {
  const runs: Run[] = [];
  const most = Math.ceil(TRIES / 2);
  while (runs.filter(isHeld).length < most && runs.filter((run) => !isHeld(run)).length < most) {
    runs.push(await measure(lab, server, rate));
    await clock.sleep(millis(500));
  }
  return runs;
}

interface Row {
  readonly server: string;
  readonly exchanges_per_s: number;
  readonly cpu_ms_per_exchange: number;
  readonly rss_mb: number;
  readonly runs: readonly Run[];
}

async function benchServer(server: Server, highest: number): Promise<Row> {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-bench-dhcp-"));
  await using lab = await Enclosure.open(
    [
      "ip link add veth0 type veth peer name veth1 netns site",
      `ip addr add ${SERVER}/16 brd + dev veth0`,
      "ip link set veth0 up",
      `ip -n site addr add ${CLIENT}/16 brd + dev veth1`,
      "ip -n site link set veth1 up",
    ],
    directory,
  );
  await using running = lab.spawn("rack", server.argv(directory), {
    logFile: join(directory, "log"),
    env: server.env?.(directory) ?? {},
  });
  await clock.sleep(seconds(2));
  // Servers run for months: what one compiles while it runs, and the memory that it asks for once, is not what is measured.
  await perfdhcp(lab, Math.min(WARM_RATE, highest / 4), DURATION_S);
  const runs: Run[] = [];
  let good: Run | undefined;
  let low = 0;
  let high = highest;
  for (let step = 0; step < 7 && high - low > high / 20; step += 1) {
    const rate = Math.round(step === 0 ? highest / 4 : (low + high) / 2);
    const tried = await tryRate(lab, running, rate);
    runs.push(...tried);
    const held = tried.filter(isHeld);
    if (held.length > tried.length / 2) {
      low = rate;
      for (const run of held) if (good === undefined || run.done > good.done) good = run;
    } else high = rate;
  }
  const pid = await running.pid();
  const rss =
    pid === undefined ? 0 : Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
  if (process.env["BENCH_KEEP_LOG"] !== undefined) copyFileSync(join(directory, "log"), process.env["BENCH_KEEP_LOG"]);
  return {
    server: server.name,
    exchanges_per_s: good?.done ?? 0,
    cpu_ms_per_exchange: good?.cpu_ms_per_exchange ?? 0,
    rss_mb: Math.round(rss / 1024),
    runs: runs.map((run) => ({ ...run })),
  };
}

const OURS = ironrack("info");
const PEERS: readonly { readonly server: Server; readonly highest: number; readonly goal: Goal }[] = [
  { server: kea(1), highest: 16_000, goal: { least: 1.4, cpuMost: 0.55 } },
  { server: kea(2), highest: 20_000, goal: { least: 1.1, cpuMost: 0.55 } },
  { server: dnsmasq, highest: 1600, goal: { least: 25, cpuMost: 0.55 } },
];

/** Words: names of peers; without any, all. Each peer has a run of ours just before its own. */
export async function benchDhcp(report: Report, only: readonly string[]): Promise<void> {
  const measured = async (server: Server, highest: number): Promise<Row> => {
    const row = await benchServer(server, highest);
    process.stderr.write(`${JSON.stringify(row)}\n`);
    return row;
  };
  const figures = (row: Row): { value: number; cpu: number } => ({
    value: row.exchanges_per_s,
    cpu: row.cpu_ms_per_exchange,
  });
  for (const { server, highest, goal } of PEERS) {
    if (only.length > 0 && !only.some((word) => server.name.includes(word))) continue;
    const ours = await measured(OURS, 20_000);
    const peer = await measured(server, highest);
    report(compare(`dhcp, ${server.name}`, "DORA/s", figures(ours), figures(peer), goal));
  }
  if (only.length === 0 || only.includes("log")) await measured(ironrack("warn"), 20_000);
}
