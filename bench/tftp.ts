import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { SystemClock } from "../src/core/clock.ts";
import { millis } from "../src/core/units.ts";
import { unpackedPackage } from "../test/peer/unpacked-package.ts";
import { compare, type Goal, type Report } from "./comparison.ts";
import { ironrackArgv, MeasuredServer, median, rounded, type ServerProgram } from "./measured-server.ts";
import { nativeClient } from "./native-client.ts";

/**
 * TFTP servers side by side: 64 MiB in blocks of 1468 over loopback, one client program for all, one client and 32 at
 * once, with the windows that the issue names; and the processor time of each. The servers take turns, so that what
 * else the machine does meets all of them; the middle of the rounds counts.
 */
const SERVER = "127.0.0.1";
const SIZE = 64 * 1024 * 1024;
const BLKSIZE = 1468;
/** What to reach against each peer; "best" is whichever of them is fastest. */
const CASES: readonly {
  readonly clients: number;
  readonly window: number;
  readonly goals: readonly (readonly [peer: string, goal: Goal])[];
}[] = [
  { clients: 1, window: 1, goals: [["best", { least: 1.05 }]] },
  { clients: 1, window: 16, goals: [["best", {}]] },
  {
    clients: 1,
    window: 64,
    goals: [
      ["atftpd", { least: 2.3 }],
      ["dnsmasq", { least: 11 }],
      ["tftpd-hpa", { least: 11 }],
    ],
  },
  { clients: 32, window: 1, goals: [["dnsmasq", { least: 1 }]] },
  {
    clients: 32,
    window: 16,
    goals: [
      ["dnsmasq", { least: 3, cpuMost: 0.35 }],
      ["atftpd", { least: 2 }],
    ],
  },
];

const servers: readonly ServerProgram[] = [
  { name: "ironrack", listens: ["udp", 69], argv: (directory) => ironrackArgv(directory, {}) },
  {
    name: "dnsmasq",
    listens: ["udp", 69],
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
  },
  {
    // Unpacked, not installed: these packages would start a service.
    name: "tftpd-hpa",
    listens: ["udp", 69],
    argv: (directory) => [
      join(unpackedPackage("tftpd-hpa"), "usr/sbin/in.tftpd"),
      "--foreground",
      "--listen",
      "--ipv4",
      "--address",
      ":69", // where there is only a loopback interface it takes no other
      "--user",
      "root",
      "--secure",
      directory,
    ],
  },
  {
    name: "atftpd",
    listens: ["udp", 69],
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
  },
];

interface Run {
  readonly mb_per_s: number;
  readonly cpu_s_per_gb: number;
  /** The one that the server took; 1 from those that know none. */
  readonly window: number;
  readonly repeated: number;
}

const clock = new SystemClock();

async function measure(server: MeasuredServer, clients: number, window: number): Promise<Run> {
  const file = join(server.directory, "file");
  const before = server.cpuTime();
  const { stdout } = await server.enclosure.run("rack", [
    nativeClient("tftp_client"),
    SERVER,
    "file",
    String(BLKSIZE),
    String(window),
    String(clients),
    file,
  ]);
  await clock.sleep(millis(200)); // for what ends after the last ACK
  const cpu = server.cpuTime() - before;
  const said = JSON.parse(stdout) as {
    readonly seconds: number;
    readonly bytes: number;
    readonly repeated: number;
    readonly window: number;
  };
  return {
    mb_per_s: said.bytes / said.seconds / 1e6,
    cpu_s_per_gb: (cpu / said.bytes) * 1e9,
    window: said.window,
    repeated: said.repeated,
  };
}

/** Words: names of peers, and cases as CLIENTSxWINDOW; without any of a kind all of it. */
export async function benchTftp(report: Report, words: readonly string[], rounds: number): Promise<void> {
  const only = words.filter((word) => servers.some(({ name }) => name === word));
  const cases = CASES.filter(({ clients, window }) => words.includes(`${clients}x${window}`));
  const contents = randomBytes(SIZE);
  const running: MeasuredServer[] = [];
  try {
    for (const program of servers) {
      if (only.length > 0 && program.name !== "ironrack" && !only.includes(program.name)) continue;
      running.push(
        await MeasuredServer.start(program, (directory) => writeFileSync(join(directory, "file"), contents)),
      );
    }
    for (const server of running) await measure(server, 1, 16); // warm
    for (const { clients, window, goals } of cases.length > 0 ? cases : CASES) {
      const runs = new Map<string, Run[]>(running.map(({ name }) => [name, []]));
      for (let round = 0; round < rounds; round += 1)
        for (const server of running) runs.get(server.name)?.push(await measure(server, clients, window));
      const medians = [...runs].map(([server, list]) => {
        const row = {
          clients,
          asked_window: window,
          server,
          window: list[0]?.window ?? 0,
          value: rounded(median(list.map((run) => run.mb_per_s)), 1),
          cpu: rounded(median(list.map((run) => run.cpu_s_per_gb)), 2),
          repeated: list.reduce((sum, run) => sum + run.repeated, 0),
        };
        process.stderr.write(`${JSON.stringify(row)}\n`);
        return row;
      });
      const [ours, ...peers] = medians;
      for (const [name, goal] of goals) {
        const peer =
          name === "best"
            ? peers.toSorted((a, b) => b.value - a.value)[0]
            : peers.find(({ server }) => server === name);
        if (ours === undefined || peer === undefined) continue;
        const what = `${clients} ${clients === 1 ? "client" : "clients"}, window ${window}, ${peer.server}`;
        report(compare(`tftp, ${what}`, "MB/s", ours, peer, goal));
      }
    }
  } finally {
    for (const server of running) await server[Symbol.asyncDispose]();
  }
}
