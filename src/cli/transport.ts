import type { Json, JsonObject } from "../core/json.ts";
import type { Millis } from "../core/units.ts";
import type { HistoryEntry } from "../domain/history.ts";

export interface CallOptions {
  readonly signal: AbortSignal;
  /** How long to wait for the answer, repetitions included. */
  readonly timeout?: Millis;
}

/** How the CLI reaches the rack. Every verb is written against this and so works over each of them. */
export interface Transport extends AsyncDisposable {
  /** What a person would call it, for messages: a path or a broker. */
  readonly peer: string;
  /** @throws Fault unreachable with what to do about it, timeout, or the fault that the rack answered */
  call(method: string, params: JsonObject, options: CallOptions): Promise<Json>;
  /** Entries with seq > `after`, as they come, without end; `after` undefined: from now on. */
  events(after: number | undefined, signal: AbortSignal): AsyncIterable<HistoryEntry>;
}
