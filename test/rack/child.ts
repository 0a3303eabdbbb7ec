import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { SystemClock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import { type Millis, millis } from "../../src/core/units.ts";

const clock = new SystemClock();

export interface ChildOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Output goes to this file (appended) instead of pipes. */
  readonly logFile?: string;
  readonly input?: string;
}

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A program that runs in an enclosure. What was spawned here is nsenter(1), which forks once into the PID namespace and
 * waits; signals must go to its child, so that `kill` finds that first.
 */
export class Child implements AsyncDisposable {
  readonly argv: readonly string[];
  readonly process: ChildProcess;
  /** Resolves when the program has ended; never rejects. */
  readonly ended: Promise<Outcome>;
  #outcome: Outcome | undefined;
  #pid: number | undefined;
  #stdout = "";
  #stderr = "";

  constructor(enter: readonly string[], argv: readonly string[], options: ChildOptions = {}) {
    this.argv = argv;
    const [program = "nsenter", ...args] = [...enter, ...argv];
    const log = options.logFile === undefined ? undefined : openSync(options.logFile, "a");
    this.process = spawn(program, args, {
      stdio: ["pipe", log ?? "pipe", log ?? "pipe"],
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
      // Its own session: Ctrl-C in the terminal is for the test program, which then closes everything in order.
      detached: true,
    });
    if (log !== undefined) closeSync(log);
    this.process.stdin?.on("error", () => undefined); // a program may end before it has read its input
    this.process.stdin?.end(options.input ?? "");
    this.process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
    });
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#outcome = { code, signal, stdout: this.#stdout, stderr: this.#stderr };
        resolve(this.#outcome);
      };
      this.process.once("close", end);
      this.process.once("error", (error) => {
        this.#stderr += String(error);
        end(127, null);
      });
    });
  }

  get isRunning(): boolean {
    return this.#outcome === undefined;
  }

  /** The program's PID as the host counts it; undefined when it has ended. */
  async pid(): Promise<number | undefined> {
    for (let attempt = 0; this.#pid === undefined && this.isRunning && attempt < 1000; attempt += 1) {
      this.#pid = onlyChildOf(this.process.pid);
      if (this.#pid === undefined) await clock.sleep(millis(5));
    }
    return this.isRunning ? this.#pid : undefined;
  }

  /** Sends the signal to the program itself; false when it has ended. */
  async kill(signal: NodeJS.Signals): Promise<boolean> {
    const pid = await this.pid();
    if (pid === undefined) return false;
    try {
      return process.kill(pid, signal);
    } catch {
      return false; // it ended between the look and the signal
    }
  }

  /** Asks with SIGTERM, and after `patience` with SIGKILL; resolves when it has ended. */
  async stop(patience: Millis = millis(5000)): Promise<Outcome> {
    await this.kill("SIGTERM");
    const cancel = clock.after(patience, () => void this.kill("SIGKILL"));
    const outcome = await this.ended;
    cancel();
    return outcome;
  }

  /** Waits for the end and throws unless the exit status is 0. */
  async succeed(): Promise<Outcome> {
    const outcome = await this.ended;
    if (outcome.code === 0) return outcome;
    const said = (outcome.stderr.trim() || outcome.stdout.trim()).slice(-2000);
    const how = outcome.signal ?? `exit status ${outcome.code}`;
    throw new Fault("refused", "rack.command", `${this.argv.join(" ")}: ${how}${said === "" ? "" : `: ${said}`}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function onlyChildOf(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined;
  try {
    const child = Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1"), 10);
    return Number.isInteger(child) ? child : undefined;
  } catch {
    return undefined;
  }
}
