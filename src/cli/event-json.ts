import { Fault } from "../core/fault.ts";
import { isJsonObject, numberProperty, objectProperty, property, stringProperty, type Json } from "../core/json.ts";
import type { HistoryEntry } from "../domain/history.ts";

/** An event as the rack sends it. Types that this program does not know pass. @throws Fault malformed */
export function parseEvent(value: Json | undefined): HistoryEntry {
  const seq = isJsonObject(value) ? numberProperty(value, "seq") : undefined;
  const type = isJsonObject(value) ? stringProperty(value, "type") : undefined;
  if (!isJsonObject(value) || seq === undefined || type === undefined) {
    throw new Fault("malformed", "event", "the rack sent an event without seq or type");
  }
  return {
    seq,
    time: stringProperty(value, "time") ?? "",
    type: type as HistoryEntry["type"],
    severity: (stringProperty(value, "severity") ?? "INFO") as HistoryEntry["severity"],
    node: (stringProperty(value, "node") ?? null) as HistoryEntry["node"],
    name: stringProperty(value, "name") ?? null,
    operation: stringProperty(value, "operation") ?? null,
    data: objectProperty(value, "data") ?? {},
  };
}

/** The answer of `event.list`. */
export function parseEventList(value: Json): { readonly events: readonly HistoryEntry[]; readonly lastSeq: number } {
  const events = isJsonObject(value) ? property(value, "events") : undefined;
  if (!isJsonObject(value) || !Array.isArray(events))
    throw new Fault("malformed", "event", "event.list answered without events");
  const parsed = events.map((one: Json) => parseEvent(one));
  return { events: parsed, lastSeq: numberProperty(value, "last_seq") ?? parsed.at(-1)?.seq ?? 0 };
}
