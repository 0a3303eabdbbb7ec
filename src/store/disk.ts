import type { NodeUuid } from "../core/brand.ts";
import type { JsonObject } from "../core/json.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Changes, State } from "./state.ts";

/** Where an IndexedStore keeps its records. `write` is never called again before it settled. */
export interface Disk {
  /**
   * Writes all changes or none; with `sync` they are on disk when the promise resolves. `before` is the state that holds
   * when it fails, and again after it failed.
   */
  write(changes: Changes, before: State, sync: boolean): Promise<void>;
  /** Up to `limit` entries with after < seq <= last, rising. */
  readHistory(after: number, last: number, limit: number): Promise<readonly HistoryEntry[]>;
  readInventory(node: NodeUuid): Promise<JsonObject | undefined>;
  close(): Promise<void>;
}
