import { closeSync, createReadStream, linkSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../src/core/clock.ts";
import { millis } from "../src/core/units.ts";
import { compare, type Goal, type Report } from "./comparison.ts";
import { ironrackArgv, MeasuredServer, median, rounded, type ServerProgram } from "./measured-server.ts";
import { nativeClient } from "./native-client.ts";
import { nginxArgv } from "./nginx.ts";

/**
 * HTTP servers side by side over loopback: 1 GiB and 64 MiB, 1 connection and 32, the bodies dropped in the client's
 * kernel; and the processor time of each. nginx with sendfile and a worker for each processor; Node's own streams as ironrack
 * had them before the addon sent. The servers take turns; the middle of the rounds counts.
 */
const SERVER = "127.0.0.1";
const PORT = 8080;
const GOALS: readonly (readonly [peer: string, goal: Goal])[] = [
  ["nginx", { least: 0.97, cpuMost: 1.1 }],
  ["node streams", { least: 3.4 }],
];
const MIB = 1024 * 1024;
interface Case {
  readonly mib: number;
  readonly connections: number;
  readonly requests: number;
}

const CASES: readonly Case[] = [
  { mib: 1024, connections: 1, requests: 4 },
  { mib: 64, connections: 1, requests: 32 },
  { mib: 1024, connections: 32, requests: 1 },
  { mib: 64, connections: 32, requests: 8 },
];

const servers: readonly ServerProgram[] = [
  {
    name: "ironrack",
    listens: ["tcp", PORT],
    argv: (directory) =>
      ironrackArgv(directory, {
        kernel: join(directory, "64"),
        initrd: join(directory, "1024"),
        tftpRoot: directory,
        httpPort: PORT,
      }),
  },
  {
    name: "nginx",
    listens: ["tcp", PORT],
    argv: (directory) => nginxArgv(directory, `${SERVER}:${PORT}`, `location /loader/ { alias ${directory}/; }`),
  },
  {
    name: "node streams",
    listens: ["tcp", PORT],
    argv: (directory) => [process.execPath, import.meta.filename, directory],
  },
];

const clock = new SystemClock();

async function measure(
  server: MeasuredServer,
  { mib, connections, requests }: Case,
): Promise<{ readonly mb_per_s: number; readonly cpu_s_per_gb: number }> {
  const before = server.cpuTime();
  const { stdout } = await server.enclosure.run("rack", [
    nativeClient("http_client"),
    SERVER,
    String(PORT),
    `/loader/${mib}`,
    String(connections),
    String(requests),
  ]);
  await clock.sleep(millis(100));
  const cpu = server.cpuTime() - before;
  const { seconds, bytes } = JSON.parse(stdout) as { readonly seconds: number; readonly bytes: number };
  if (bytes !== mib * MIB * connections * requests) throw new Error(`${server.name} sent ${bytes} bytes`);
  return { mb_per_s: bytes / seconds / 1e6, cpu_s_per_gb: (cpu / bytes) * 1e9 };
}

/** Words: names of peers, and cases as MIBxCONNECTIONS; without any of a kind all of it. */
export async function benchHttp(report: Report, words: readonly string[], rounds: number): Promise<void> {
  const only = words.filter((word) => servers.some(({ name }) => name.startsWith(word)));
  const cases = CASES.filter(({ mib, connections }) => words.includes(`${mib}x${connections}`));
  const running: MeasuredServer[] = [];
  const files = mkdtempSync(join(tmpdir(), "ironrack-bench-files-"));
  try {
    writeFiles(files);
    // The same files for all: one copy in the page cache.
    const prepare = (directory: string): void => {
      for (const name of ["64", "1024"]) linkSync(join(files, name), join(directory, name));
    };
    for (const program of servers) {
      if (only.length > 0 && program.name !== "ironrack" && !only.some((word) => program.name.startsWith(word)))
        continue;
      running.push(await MeasuredServer.start(program, prepare));
    }
    for (const one of cases.length > 0 ? cases : CASES) {
      for (const server of running) await measure(server, { ...one, connections: 1, requests: 1 }); // warm
      const runs = new Map<MeasuredServer, Awaited<ReturnType<typeof measure>>[]>(
        running.map((server) => [server, []]),
      );
      for (let round = 0; round < rounds; round += 1)
        for (const server of running) runs.get(server)?.push(await measure(server, one));
      const medians = [...runs].map(([server, list]) => {
        const row = {
          mib: one.mib,
          connections: one.connections,
          server: server.name,
          value: rounded(median(list.map((run) => run.mb_per_s)), 0),
          cpu: rounded(median(list.map((run) => run.cpu_s_per_gb)), 3),
          rss_mb: server.memory(),
        };
        process.stderr.write(`${JSON.stringify(row)}\n`);
        return row;
      });
      const [ours, ...peers] = medians;
      for (const [name, goal] of GOALS) {
        const peer = peers.find(({ server }) => server === name);
        if (ours === undefined || peer === undefined) continue;
        const what = `${one.mib} MiB, ${one.connections} ${one.connections === 1 ? "connection" : "connections"}`;
        report(compare(`http, ${what}, ${name}`, "MB/s", ours, peer, goal));
      }
    }
  } finally {
    for (const server of running) await server[Symbol.asyncDispose]();
    rmSync(files, { recursive: true });
  }
}

/** Files with contents, of which every page is in the page cache. */
function writeFiles(directory: string): void {
  const block = Buffer.alloc(MIB, "ironrack");
  for (const mib of [64, 1024]) {
    const file = openSync(join(directory, String(mib)), "w");
    for (let at = 0; at < mib; at += 1) writeSync(file, block);
    closeSync(file);
  }
}

/** What Node does by itself, as a program of its own: `node bench/http.js DIRECTORY`. */
function serveWithStreams(directory: string): void {
  createServer((request, response) => {
    const path = join(directory, (request.url ?? "").replace("/loader/", ""));
    response.setHeader("Content-Length", statSync(path).size);
    createReadStream(path, { highWaterMark: MIB }).pipe(response);
  }).listen(PORT, SERVER);
}

if (process.argv[1] === import.meta.filename) serveWithStreams(process.argv[2] ?? ".");
