import { property, type Json } from "../core/json.ts";
import type { HistoryEntry } from "../domain/history.ts";
import { oneLine } from "./table.ts";

/** The event as one sentence for a person, without time and node. */
export function eventWords(event: HistoryEntry): string {
  const text = (key: string): string | undefined => {
    const value = property(event.data, key);
    return value === undefined || value === null
      ? undefined
      : typeof value === "string"
        ? value
        : JSON.stringify(value);
  };
  const because = (...keys: readonly string[]): string => {
    const reason = keys.map(text).find((value) => value !== undefined);
    return reason === undefined ? "" : `: ${reason}`;
  };
  switch (event.type) {
    case "node.created":
      return `enrolled${text("driver") === undefined ? "" : ` with driver ${text("driver")}`}`;
    case "node.updated":
      return `changed${because("fields")}`;
    case "node.deleted":
      return "removed";
    case "node.state":
    case "node.power":
      return `${text("from") === undefined ? "" : `${text("from")} → `}${text("to") ?? "?"}${because("reason")}`;
    case "node.step.started":
      return `step ${text("step") ?? "?"} begins${text("attempt") === undefined || text("attempt") === "1" ? "" : ` (attempt ${text("attempt")})`}`;
    case "node.step.progress":
      return `step ${text("step") ?? "?"}: ${progressWords(event.data["bytes"], event.data["total"], event.data["mb_s"]) ?? "goes on"}`;
    case "node.step.done":
      return `step ${text("step") ?? "?"} is done${because("result")}`;
    case "node.failed":
      return `failed${because("reason", "error", "message")}`;
    case "node.recovered":
      return `work goes on after a restart${because("reason", "step")}`;
    case "node.maintenance":
      return text("maintenance") === "false" ? "out of maintenance" : `in maintenance${because("reason")}`;
    case "node.inspected":
      return "inspected";
    case "port.created":
      return `port ${text("address") ?? ""} added`;
    case "port.deleted":
      return `port ${text("address") ?? ""} removed`;
    case "volume.created":
      return `volume ${text("kind") ?? ""} ${text("connector_id") ?? text("volume_id") ?? ""} added`;
    case "volume.deleted":
      return `volume ${text("kind") ?? ""} ${text("volume") ?? ""} removed`;
    case "discovery":
      return `an unknown machine was seen${because("address", "mac")}`;
    case "daemon.started":
      return `ironrackd started${text("version") === undefined ? "" : `, version ${text("version")}`}`;
    default:
      // A newer daemon may know more than this program.
      return `${String(event.type)} ${JSON.stringify(event.data)}`;
  }
}

/** `1.2 of 4.0 GB, 310 MB/s`, or undefined when there are no numbers. */
export function progressWords(
  bytes: Json | undefined,
  total: Json | undefined,
  mbPerSecond: Json | undefined,
): string | undefined {
  if (typeof bytes !== "number") return undefined;
  const share =
    typeof total === "number" && total > 0
      ? `${Math.floor((bytes / total) * 100)} % of ${sizeWords(total)}`
      : sizeWords(bytes);
  return typeof mbPerSecond === "number" ? `${share}, ${Math.round(mbPerSecond)} MB/s` : share;
}

/** Decimal units, as disks and wires are sold in. */
export function sizeWords(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function durationWords(milliseconds: number): string {
  const total = Math.max(0, Math.round(milliseconds / 1000));
  const [days, hours, minutes, rest] = [
    Math.floor(total / 86_400),
    Math.floor(total / 3600) % 24,
    Math.floor(total / 60) % 60,
    total % 60,
  ];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${String(minutes).padStart(2, "0")} min`;
  return minutes > 0 ? `${minutes}:${String(rest).padStart(2, "0")} min` : `${rest} s`;
}

/** One line of a log: time, node, words; warnings and errors are marked. */
export function eventLine(event: HistoryEntry): string {
  const mark = event.severity === "INFO" ? "" : `${event.severity}: `;
  const who = event.name ?? event.node ?? "rack";
  return oneLine(`${event.time.replace("T", " ").replace(/\.\d+Z$/, "Z")}  ${who}  ${mark}${eventWords(event)}`);
}
