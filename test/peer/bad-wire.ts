import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type JsonObject, numberProperty } from "../../src/core/json.ts";
import { SystemRandom } from "../../src/core/random.ts";
import type { Child } from "../rack/child.ts";
import { parseLine } from "../rack/daemon.ts";
import type { BootLab } from "./boot-lab.ts";

// build/test/peer → the source's test/peer
const PROGRAM = resolve(import.meta.dirname, "../../../test/peer/bad-wire.py");

/** For the lab's layout: the site's clients stand on a bridge of their own, which only the bad wire joins to the rack's. */
export const APART = [
  "ip -n site link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
  "ip -n site link set br1 up",
  "ip link set wire0 netns site",
  "ip -n site link set wire0 master br1 up",
];

/** In percent of the IPv4 packets that go either way. Those that are late are overtaken by others. */
export interface Badness {
  readonly lose: number;
  readonly double: number;
  readonly late: number;
}

export interface WireCounts {
  readonly lost: number;
  readonly doubled: number;
  readonly late: number;
  /** Packets that the server's transfers sent, as they came to the wire. */
  readonly transfers: number;
}

/** The wire between rack and site, which does to packets what its seed says (`FUZZ_SEED` repeats one). */
export class BadWire implements AsyncDisposable {
  /** To be told when something fails. */
  readonly seed: number;
  readonly #lab: BootLab;
  readonly #log: string;
  readonly #program: Child;

  private constructor(lab: BootLab, badness: Badness) {
    this.#lab = lab;
    this.seed = Number(process.env["FUZZ_SEED"] ?? new SystemRandom().below(2 ** 31));
    this.#log = join(lab.directory, "wire.log");
    const options = JSON.stringify({ seed: this.seed, ...badness });
    this.#program = lab.enclosure.spawn("rack", ["python3", PROGRAM, options], { logFile: this.#log });
  }

  static async open(lab: BootLab, badness: Badness): Promise<BadWire> {
    const wire = new BadWire(lab, badness);
    await lab.until(() => wire.#lines().length > 0 || !wire.#program.isRunning, "the wire");
    if (!wire.#program.isRunning) throw new Error(readFileSync(wire.#log, "utf8"));
    return wire;
  }

  /** What it has done so far. */
  async counts(): Promise<WireCounts> {
    const before = this.#lines().length;
    await this.#program.kill("SIGUSR1");
    await this.#lab.until(() => this.#lines().length > before, "the wire's counts");
    const line = this.#lines().at(-1) ?? {};
    const count = (key: string): number => numberProperty(line, key) ?? Number.NaN;
    return {
      lost: count("lost"),
      doubled: count("doubled"),
      late: count("late"),
      transfers: count("transfers"),
    };
  }

  #lines(): readonly JsonObject[] {
    return readFileSync(this.#log, "utf8")
      .split("\n")
      .map(parseLine)
      .filter((line) => line !== undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
  }
}
