import type { Clock } from "../core/clock.ts";
import type { LogEvent } from "../core/log-events.ts";
import type { Log, LogFields } from "../core/log.ts";

const MINUTE = 60_000;
/** Kinds come from what strangers send: beyond so many they share one row. */
const MOST_KINDS = 64;

/** Logs the first of its kind at once and then, once a minute at most, how many there were. */
export class MinuteLog {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #event: LogEvent;
  readonly #kinds = new Map<string, { since: number; count: number }>();

  constructor(options: { readonly clock: Clock; readonly log: Log; readonly event: LogEvent }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#event = options.event;
  }

  /** The kind is the first word: "option 43" and "option 44" are one. */
  report(what: string, fields: LogFields): void {
    const kind = what.split(" ", 1)[0] ?? what;
    const key = this.#kinds.has(kind) || this.#kinds.size < MOST_KINDS ? kind : "other";
    const now = this.#clock.now();
    const row = this.#kinds.get(key);
    if (row !== undefined && now - row.since < MINUTE) {
      row.count += 1;
      return;
    }
    this.#log.warn(this.#event, { ...fields, ...(row === undefined ? {} : { since_last_line: row.count + 1 }) });
    this.#kinds.set(key, { since: now, count: 0 });
  }
}
