import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Fault } from "../../src/core/fault.ts";
import { Child, type ChildOptions, type Outcome } from "./child.ts";

/** Where a program runs: beside the appliance in the rack, or at the central site. */
export type Side = "rack" | "site";

/** The name of the site's network namespace inside the enclosure. */
export const SITE = "site";

/**
 * Process 1 of the enclosure. It ends when its standard input does, which the kernel closes however the test program
 * dies; it removes the rack's own files, and when it is gone the kernel kills everything in the PID namespace and frees
 * the network namespaces with all their links. SIGCHLD is ignored so that orphans are reaped.
 */
const KEEPER = `$SIG{CHLD} = "IGNORE"; $| = 1; print "ready\\n"; 1 while sysread(STDIN, my $byte, 1); exec "rm", "-rf", @ARGV if @ARGV`;

/**
 * A PID namespace, a mount namespace and two network namespaces (the rack's, and the site's by the name "site") that
 * live exactly as long as this process and this object: none has a name outside, so that nothing can be left over.
 */
export class Enclosure implements AsyncDisposable {
  readonly #keeper: ChildProcess;
  /** Process 1 of the enclosure, as the host counts it. */
  readonly keeperPid: number;
  #closing: Promise<void> | undefined;

  private constructor(keeper: ChildProcess, keeperPid: number) {
    this.#keeper = keeper;
    this.keeperPid = keeperPid;
  }

  /**
   * Opens the namespaces and runs the shell commands of `layout` in the rack's, with `ip -n site` for the site's. The
   * directory `scratch` is removed at the end.
   */
  static async open(layout: readonly string[], scratch: string): Promise<Enclosure> {
    const script = [
      "set -e",
      "mkdir -p /run/netns",
      "mount -t tmpfs tmpfs /run/netns",
      "mount -t sysfs sysfs /sys",
      `ip netns add ${SITE}`,
      "ip link set lo up",
      `ip -n ${SITE} link set lo up`,
      ...layout,
      `exec perl -e '${KEEPER}' "$1"`,
    ].join("\n");
    const keeper = spawn(
      "unshare",
      [
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--net",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "rack",
        scratch,
      ],
      { stdio: ["pipe", "pipe", "pipe"], detached: true },
    );
    keeper.stdin.on("error", () => undefined);
    let complaint = "";
    keeper.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint += text;
    });
    for await (const line of createInterface({ input: keeper.stdout })) {
      if (line === "ready") {
        const pid = Number.parseInt(readFileSync(`/proc/${keeper.pid}/task/${keeper.pid}/children`, "latin1"), 10);
        return new Enclosure(keeper, pid);
      }
    }
    throw new Fault(
      "refused",
      "rack.namespaces",
      `cannot make the rack's namespaces (root is needed): ${complaint.trim()}`,
    );
  }

  /** The command that enters a side; put a program behind it. */
  enter(side: Side): readonly string[] {
    const target = String(this.keeperPid);
    const net = side === "rack" ? `/proc/${target}/ns/net` : `/proc/${target}/root/run/netns/${SITE}`;
    return ["nsenter", `--target=${target}`, "--pid", "--mount", `--net=${net}`, "--"];
  }

  spawn(side: Side, argv: readonly string[], options?: ChildOptions): Child {
    if (this.#closing !== undefined) throw new Fault("conflict", "rack.closed", "the rack is closed");
    // nsenter has changed the mount namespace and with it the working directory; env(1) goes back.
    const at = options?.cwd ?? process.cwd();
    return new Child([...this.enter(side), "env", `--chdir=${at}`], argv, options);
  }

  /** Runs to the end. @throws Fault refused unless the exit status is 0 */
  async run(side: Side, argv: readonly string[], options?: ChildOptions): Promise<Outcome> {
    return await this.spawn(side, argv, options).succeed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#keeper.exitCode !== null || this.#keeper.signalCode !== null) return;
    const gone = once(this.#keeper, "exit");
    this.#keeper.stdin?.end();
    await gone;
  }
}
