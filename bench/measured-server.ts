import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SystemClock } from "../src/core/clock.ts";
import { millis } from "../src/core/units.ts";
import type { BootServerOptions } from "../test/peer/boot-server.ts";
import type { Child } from "../test/rack/child.ts";
import { Enclosure } from "../test/rack/enclosure.ts";

export interface ServerProgram {
  readonly name: string;
  readonly argv: (directory: string) => readonly string[];
  /** The kernel's table that shows its port, and the port. */
  readonly listens: readonly ["tcp" | "udp", number];
}

const clock = new SystemClock();

/** A server in namespaces of its own, with a directory that goes with it. */
export class MeasuredServer implements AsyncDisposable {
  readonly name: string;
  readonly enclosure: Enclosure;
  readonly directory: string;
  readonly pid: number;

  private constructor(name: string, enclosure: Enclosure, directory: string, pid: number) {
    this.name = name;
    this.enclosure = enclosure;
    this.directory = directory;
    this.pid = pid;
  }

  /** Listens when it resolves. `prepare` fills the directory, `layout` makes its network. */
  static async start(
    program: ServerProgram,
    prepare: (directory: string) => void,
    layout: readonly string[] = [],
  ): Promise<MeasuredServer> {
    const directory = mkdtempSync(join(tmpdir(), "ironrack-bench-"));
    prepare(directory);
    const enclosure = await Enclosure.open(layout, directory);
    const log = join(directory, "log");
    const child: Child = enclosure.spawn("rack", program.argv(directory), { logFile: log });
    const [table, port] = program.listens;
    const entry = new RegExp(`^ *\\d+: [0-9A-F]{8}:${port.toString(16).toUpperCase().padStart(4, "0")} `, "m");
    for (;;) {
      const pid = await child.pid();
      if (pid === undefined) throw new Error(`${program.name} has ended:\n${readFileSync(log, "utf8")}`);
      if (entry.test(readFileSync(`/proc/${pid}/net/${table}`, "latin1")))
        return new MeasuredServer(program.name, enclosure, directory, pid);
      await clock.sleep(millis(50));
    }
  }

  /** Processor time so far, of all threads, children that have ended and children that run, in seconds. */
  cpuTime(): number {
    return processes(this.pid).reduce((sum, pid) => sum + ownTime(pid), 0);
  }

  /** In MB, with children. */
  memory(): number {
    const kilobytes = processes(this.pid).map((pid) =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0),
    );
    return Math.round(kilobytes.reduce((sum, each) => sum + each, 0) / 1024);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.enclosure[Symbol.asyncDispose]();
  }
}

function processes(pid: number): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").map(Number).flatMap(processes))];
}

function ownTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100; // USER_HZ is 100
}

/** ironrack's boot services as the test program runs them, without discovery and with an empty ramdisk unless told otherwise. */
export function ironrackArgv(directory: string, options: Partial<BootServerOptions>): readonly string[] {
  const empty = join(directory, "empty");
  writeFileSync(empty, "");
  const all: BootServerOptions = {
    interface: "lo",
    address: "127.0.0.1",
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
    ...options,
  };
  return [process.execPath, resolve(import.meta.dirname, "../test/peer/boot-server.js"), JSON.stringify(all)];
}

/** The middle one of several measurements. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** To so many digits after the point. */
export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
