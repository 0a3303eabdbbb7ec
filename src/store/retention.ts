import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { State } from "./state.ts";

/** How much of what is finished is kept. */
export interface Retention {
  /** Entries of history; what the site has not acknowledged stays beyond it. */
  readonly historyEntries: number;
  /** The most entries of history, acknowledged or not. */
  readonly historyLimit: number;
  /** Commands that have their answer and nobody waits for. */
  readonly commands: number;
  readonly commandAge: number;
}

export const defaultRetention: Retention = {
  historyEntries: 100_000,
  historyLimit: 500_000,
  commands: 10_000,
  commandAge: 30 * 24 * 3600 * 1000,
};

/** One batch drops at most so many, so that no batch becomes slow; the next ones go on. */
const TRIMMED_AT_ONCE = 256;
const EXAMINED_AT_ONCE = 1024;

/** Adds to `batch`, a layer over `before`, the removal of what is beyond `retention`. */
export function trim(batch: State, before: State, retention: Retention, clock: Clock, log: Log): void {
  trimHistory(batch, retention, log);
  if (batch.commands.changes().size > 0) trimCommands(batch, before, retention, clock);
}

function trimHistory(batch: State, retention: Retention, log: Log): void {
  const { firstSeq, lastSeq, acknowledged } = batch.marks;
  const beyond = lastSeq - retention.historyEntries;
  const beyondLimit = lastSeq - retention.historyLimit;
  const end = Math.min(Math.max(Math.min(beyond, acknowledged), beyondLimit), firstSeq - 1 + TRIMMED_AT_ONCE);
  if (end < firstSeq) return;
  if (end > acknowledged) {
    log.warn("store.trimmed", { from: Math.max(firstSeq, acknowledged + 1), to: end });
  }
  batch.marks = { ...batch.marks, firstSeq: end + 1 };
}

function trimCommands(batch: State, before: State, retention: Retention, clock: Clock): void {
  const oldest = clock.wall().getTime() - retention.commandAge;
  let surplus = before.commands.size - retention.commands;
  for (const { command } of before.commands.head(EXAMINED_AT_ONCE)) {
    const old = Date.parse(command.receivedAt) < oldest;
    if (surplus <= 0 && !old) break;
    const settled = command.answer !== null && (command.reply === null || command.delivered);
    if (!settled) continue;
    batch.commands.delete(command.id);
    surplus -= 1;
  }
}
