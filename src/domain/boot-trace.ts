import type { NodeUuid } from "../core/brand.ts";
import { type Clock, throwIfAborted } from "../core/clock.ts";
import { toFault } from "../core/fault.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { LogEvent } from "../core/log-events.ts";
import type { LogFields } from "../core/log.ts";

/** What happened to a machine while it booted; `fields` are those of its line in the log. */
export interface BootStep {
  readonly seq: number;
  readonly time: string;
  readonly event: LogEvent;
  /** As in TracedMachine. */
  readonly machine: string;
  readonly node: string | null;
  readonly fields: JsonObject;
}

export interface TracedMachine {
  /** MAC address; the IP address of one whose MAC address is not known; the node's UUID where no NIC is meant. */
  readonly machine: string;
  readonly node: string | null;
  readonly steps: number;
  readonly first: BootStep;
  readonly last: BootStep;
}

/** Whose steps are asked for: some addresses, a node. */
export interface TraceSubject {
  readonly machines: readonly string[];
  readonly node: NodeUuid | null;
}

export interface BootTraceReader {
  readonly lastSeq: number;
  /** Who was heard of, the latest first. */
  machines(): readonly TracedMachine[];
  /** Steps with seq > `after`, in order. */
  read(subject: TraceSubject, after: number): readonly BootStep[];
  /** Resolves once `read` has something. @throws Fault cancelled, timeout: as the signal says */
  waitAfter(subject: TraceSubject, after: number, signal: AbortSignal): Promise<void>;
}

interface Machine {
  readonly key: string;
  node: string | null;
  readonly kept: Kept[];
}

/** As cheap as can be to keep: this happens for every packet, and reading is rare. */
interface Kept {
  readonly seq: number;
  readonly at: number;
  readonly event: LogEvent;
  readonly fields: LogFields;
}

interface Waiter {
  readonly subject: TraceSubject;
  readonly wake: () => void;
}

export interface TraceLimits {
  readonly steps: number;
  readonly enrolled: number;
  readonly strangers: number;
}

const LIMITS: TraceLimits = { steps: 128, enrolled: 512, strangers: 128 };
const LONG = 64;

/**
 * The last steps of the machines heard of last, in memory alone. A flood of invented addresses takes the place of other
 * strangers at most, never of enrolled machines.
 */
export class BootTrace implements BootTraceReader {
  readonly #clock: Clock;
  readonly #limits: TraceLimits;
  /** The one heard of longest ago first. */
  readonly #enrolled = new Map<string, Machine>();
  readonly #strangers = new Map<string, Machine>();
  readonly #waiters = new Set<Waiter>();
  #seq: number;

  constructor(options: { readonly clock: Clock; readonly limits?: TraceLimits }) {
    this.#clock = options.clock;
    this.#limits = options.limits ?? LIMITS;
    // Rises over restarts too, so that whoever follows need not know of them.
    this.#seq = options.clock.wallMillis();
  }

  get lastSeq(): number {
    return this.#seq;
  }

  /** `machine` as in TracedMachine. */
  record(machine: string, node: string | null, event: LogEvent, fields: LogFields): void {
    const found = this.#machine(machine, node);
    this.#seq += 1;
    found.kept.push({ seq: this.#seq, at: this.#clock.wallMillis(), event, fields: unshared(fields) });
    if (found.kept.length > this.#limits.steps) found.kept.shift();
    for (const waiter of this.#waiters) if (concerns(waiter.subject, found)) waiter.wake();
  }

  /** The machine, moved to the end of its row: it is the one heard of last. */
  #machine(key: string, node: string | null): Machine {
    const former = this.#enrolled.has(key) ? this.#enrolled : this.#strangers;
    const machine = former.get(key) ?? { key, node, kept: [] };
    machine.node = node ?? machine.node;
    former.delete(key);
    const [row, most] =
      machine.node === null ? [this.#strangers, this.#limits.strangers] : [this.#enrolled, this.#limits.enrolled];
    row.set(key, machine);
    keepNewest(row, most);
    return machine;
  }

  machines(): readonly TracedMachine[] {
    return this.#all()
      .flatMap((machine) => {
        const [first, last] = [machine.kept[0], machine.kept.at(-1)];
        return first === undefined || last === undefined
          ? []
          : [
              {
                machine: machine.key,
                node: machine.node,
                steps: machine.kept.length,
                first: shown(machine, first),
                last: shown(machine, last),
              },
            ];
      })
      .toSorted((a, b) => b.last.seq - a.last.seq);
  }

  #all(): readonly Machine[] {
    return [...this.#enrolled.values(), ...this.#strangers.values()];
  }

  read(subject: TraceSubject, after: number): readonly BootStep[] {
    return this.#all()
      .filter((machine) => concerns(subject, machine))
      .flatMap((machine) => machine.kept.filter(({ seq }) => seq > after).map((step) => shown(machine, step)))
      .toSorted((a, b) => a.seq - b.seq);
  }

  waitAfter(subject: TraceSubject, after: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      throwIfAborted(signal);
      if (this.read(subject, after).length > 0) {
        resolve();
        return;
      }
      const end = (): void => {
        this.#waiters.delete(waiter);
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = (): void => {
        end();
        reject(toFault(signal.reason));
      };
      const waiter: Waiter = {
        subject,
        wake: () => {
          end();
          resolve();
        },
      };
      this.#waiters.add(waiter);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }
}

function concerns({ machines, node }: TraceSubject, machine: Machine): boolean {
  return (node !== null && machine.node === node) || machines.includes(machine.key);
}

function shown({ key, node }: Machine, { seq, at, event, fields }: Kept): BootStep {
  const given = Object.entries(fields).filter((entry): entry is [string, Json] => entry[1] !== undefined);
  return { seq, time: new Date(at).toISOString(), event, machine: key, node, fields: Object.fromEntries(given) };
}

/** Deletes what was put in first while there are more than `most`. */
export function keepNewest(map: Map<string, unknown>, most: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= most) return;
    map.delete(oldest);
  }
}

/** Long texts are copied: a part of a long text keeps all of it in memory. */
function unshared(fields: LogFields): LogFields {
  let copy: Record<string, Json | undefined> | undefined;
  for (const key in fields) {
    const value = fields[key];
    if (typeof value === "string" && value.length > LONG) {
      copy ??= { ...fields };
      copy[key] = Buffer.from(value).toString();
    }
  }
  return copy ?? fields;
}
