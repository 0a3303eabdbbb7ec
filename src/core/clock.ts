import { setMaxListeners } from "node:events";
import { Fault } from "./fault.ts";
import type { Millis } from "./units.ts";

/** A point of time after which waiting ends; `signal` aborts then, or when the parent signal does. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  /** Monotonic time at which it passes. */
  readonly at: Millis;
  remaining(): Millis;
}

/** The only source of time. `now` is monotonic; `wall` is UTC and may jump. */
export interface Clock {
  now(): Millis;
  wall(): Date;
  /** The same as milliseconds since 1970. */
  wallMillis(): number;
  /** Resolves after `duration`. @throws Fault cancelled when the signal aborts */
  sleep(duration: Millis, signal?: AbortSignal): Promise<void>;
  /** Calls once after `duration` unless cancelled by the returned function. */
  after(duration: Millis, call: () => void): () => void;
  deadline(duration: Millis, parent?: AbortSignal): Deadline;
}

function throwCancelled(signal: AbortSignal): never {
  if (signal.reason instanceof Fault) throw signal.reason;
  throw new Fault("cancelled", "cancelled", "cancelled", { cause: signal.reason });
}

/** Throws the signal's reason as a Fault if it is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throwCancelled(signal);
}

abstract class TimerClock implements Clock {
  abstract now(): Millis;
  abstract wallMillis(): number;
  abstract after(duration: Millis, call: () => void): () => void;

  wall(): Date {
    return new Date(this.wallMillis());
  }

  sleep(duration: Millis, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        try {
          throwCancelled(signal);
        } catch (fault) {
          reject(fault as Error);
        }
        return;
      }
      const cancel = this.after(duration, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = (): void => {
        cancel();
        try {
          throwCancelled(signal as AbortSignal);
        } catch (fault) {
          reject(fault as Error);
        }
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  deadline(duration: Millis, parent?: AbortSignal): Deadline {
    const controller = new AbortController();
    // One deadline may hold many waits; Node takes more than ten listeners for a leak.
    setMaxListeners(0, controller.signal);
    const at = (this.now() + duration) as Millis;
    const onParent = (): void => controller.abort(parent?.reason);
    const cancel = this.after(duration, () =>
      controller.abort(new Fault("timeout", "timeout", `no answer within ${Math.round(duration / 100) / 10} s`)),
    );
    if (parent?.aborted === true) onParent();
    else parent?.addEventListener("abort", onParent, { once: true });
    return {
      signal: controller.signal,
      at,
      remaining: () => Math.max(0, at - this.now()) as Millis,
      [Symbol.dispose]: () => {
        cancel();
        parent?.removeEventListener("abort", onParent);
      },
    };
  }
}

/** setTimeout takes at most 2^31-1 ms and then fires at once; longer waits go in pieces. */
const LONGEST_TIMER = 2_000_000_000;

export class SystemClock extends TimerClock {
  now(): Millis {
    return performance.now() as Millis;
  }

  wallMillis(): number {
    return Date.now();
  }

  after(duration: Millis, call: () => void): () => void {
    let timer: NodeJS.Timeout;
    const arm = (left: number): void => {
      timer = setTimeout(
        () => (left > LONGEST_TIMER ? arm(left - LONGEST_TIMER) : call()),
        Math.min(left, LONGEST_TIMER),
      );
    };
    arm(duration);
    return () => clearTimeout(timer);
  }
}

/** A clock that moves only by `advance`; for tests. Wall time starts at the given instant and moves along. */
export class FakeClock extends TimerClock {
  #now = 0;
  readonly #start: number;
  readonly #timers = new Set<{ readonly at: number; readonly call: () => void }>();

  constructor(start = "2026-01-01T00:00:00.000Z") {
    super();
    this.#start = Date.parse(start);
  }

  now(): Millis {
    return this.#now as Millis;
  }

  wallMillis(): number {
    return this.#start + this.#now;
  }

  after(duration: Millis, call: () => void): () => void {
    const timer = { at: this.#now + duration, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time, firing what is due in order and letting promise callbacks run between. */
  async advance(duration: number): Promise<void> {
    const end = this.#now + duration;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.at);
      this.#timers.delete(due);
      due.call();
    }
    this.#now = end;
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** UTC ISO 8601 with milliseconds: the one form of stored instants. */
export function instant(clock: Clock): string {
  return clock.wall().toISOString();
}

let lastInstant = { at: 0, text: "" };

/** The system's own time in that form, for log lines: many fall into one millisecond. */
export function presentInstant(): string {
  const at = Date.now();
  if (at !== lastInstant.at) lastInstant = { at, text: new Date(at).toISOString() };
  return lastInstant.text;
}
