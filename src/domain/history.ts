import type { NodeUuid } from "../core/brand.ts";
import type { JsonObject } from "../core/json.ts";

/** What the site is told and the operator can read back. The id is stable. */
export type HistoryType =
  | "node.created"
  | "node.updated"
  | "node.deleted"
  | "node.state"
  | "node.power"
  | "node.step.started"
  | "node.step.progress"
  | "node.step.done"
  | "node.failed"
  | "node.recovered"
  | "node.maintenance"
  | "node.inspected"
  | "port.created"
  | "port.deleted"
  | "volume.created"
  | "volume.deleted"
  | "discovery"
  | "daemon.started";

/** One entry of the rack's history; `seq` rises by one without gaps and is what the site acknowledges. Never holds a secret. */
export interface HistoryEntry {
  readonly seq: number;
  readonly time: string;
  readonly type: HistoryType;
  readonly severity: "INFO" | "WARNING" | "ERROR";
  readonly node: NodeUuid | null;
  readonly name: string | null;
  readonly operation: string | null;
  readonly data: JsonObject;
}
