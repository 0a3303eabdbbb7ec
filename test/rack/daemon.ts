import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Deadline, SystemClock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import { isJsonObject, type JsonObject, stringProperty } from "../../src/core/json.ts";
import { type Millis, millis } from "../../src/core/units.ts";
import type { Child } from "./child.ts";
import type { VirtualRack } from "./virtual-rack.ts";

const clock = new SystemClock();

/** The build that is tested: two levels above this file, in build/test/rack/. */
export const BUILD = resolve(import.meta.dirname, "../..");

export interface DaemonOptions {
  readonly rack: VirtualRack;
  /** Path of its appliance.conf. */
  readonly config: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The appliance: ironrackd in the rack's namespaces, with one log over all its lives. */
export class Daemon implements AsyncDisposable {
  readonly logFile: string;
  readonly #options: DaemonOptions;
  #process: Child | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.logFile = join(options.rack.directory, "ironrackd.log");
  }

  get isRunning(): boolean {
    return this.#process?.isRunning === true;
  }

  /** Starts it and returns when it says that it is ready. @throws Fault with the end of its log when it does not */
  async start(patience: Millis = millis(60_000)): Promise<void> {
    if (this.isRunning) throw new Fault("conflict", "rack.daemon", "ironrackd runs already");
    const { rack, config, env } = this.#options;
    const since = this.logLength();
    this.#process = rack.spawn(
      [process.execPath, "--enable-source-maps", join(BUILD, "src/main.js"), "--config", config],
      {
        logFile: this.logFile,
        ...(env === undefined ? {} : { env }),
      },
    );
    using deadline = clock.deadline(patience);
    await this.waitForLog((line) => stringProperty(line, "event") === "daemon.ready", deadline, since);
  }

  /** Ends it in order, as systemd would. */
  async stop(): Promise<void> {
    await this.#process?.stop(millis(30_000));
  }

  /** Ends it between two instructions. */
  async kill9(): Promise<void> {
    await this.#process?.kill("SIGKILL");
    await this.#process?.ended;
  }

  log(since = 0): string {
    try {
      return readFileSync(this.logFile).subarray(since).toString("utf8");
    } catch {
      return "";
    }
  }

  /** A mark for `log`, `logLines` and `waitForLog`. */
  logLength(): number {
    return Buffer.byteLength(this.log());
  }

  logLines(since = 0): readonly JsonObject[] {
    return this.log(since)
      .split("\n")
      .map(parseLine)
      .filter((line) => line !== undefined);
  }

  /** The first line since `since` that `wanted` accepts. @throws Fault when the deadline passes or the daemon ends first */
  async waitForLog(wanted: (line: JsonObject) => boolean, deadline: Deadline, since = 0): Promise<JsonObject> {
    for (;;) {
      const ended = !this.isRunning;
      const found = this.logLines(since).find(wanted);
      if (found !== undefined) return found;
      const tail = `the end of ${this.logFile}:\n${this.log(since).slice(-2000)}`;
      if (ended) throw new Fault("unreachable", "rack.daemon", `ironrackd has ended; ${tail}`);
      try {
        await clock.sleep(millis(50), deadline.signal);
      } catch (cause) {
        throw new Fault("timeout", "rack.daemon", `ironrackd did not log what was waited for; ${tail}`, { cause });
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** The JSON of a log line, also behind sd-daemon's `<6>`; undefined for other text. */
export function parseLine(line: string): JsonObject | undefined {
  const start = /^(<\d>)?\{/.test(line) ? line.indexOf("{") : -1;
  if (start < 0) return undefined;
  try {
    const value: unknown = JSON.parse(line.slice(start));
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined; // the last line may be half written
  }
}
