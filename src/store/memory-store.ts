import type { Clock } from "../core/clock.ts";
import type { JsonObject } from "../core/json.ts";
import { type Log, silentLog } from "../core/log.ts";
import type { NodeUuid } from "../core/brand.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Store } from "../domain/store.ts";
import type { Disk } from "./disk.ts";
import { IndexedStore } from "./indexed-store.ts";
import { defaultRetention, type Retention } from "./retention.ts";
import { type Changes, State } from "./state.ts";

/** A store that keeps everything in memory and nothing beyond it; held to the same contract as the real one. For tests. */
export function openMemoryStore(options: {
  readonly clock: Clock;
  readonly log?: Log;
  readonly retention?: Partial<Retention>;
}): Store & AsyncDisposable {
  return new IndexedStore({
    state: new State(),
    disk: new MemoryDisk(),
    clock: options.clock,
    log: options.log ?? silentLog,
    retention: { ...defaultRetention, ...options.retention },
  });
}

class MemoryDisk implements Disk {
  #history: HistoryEntry[] = [];
  readonly #inventory = new Map<NodeUuid, JsonObject>();

  async write(changes: Changes): Promise<void> {
    this.#history.push(...changes.history);
    if ((this.#history[0]?.seq ?? 0) < changes.marks.firstSeq) {
      this.#history = this.#history.filter((entry) => entry.seq >= changes.marks.firstSeq);
    }
    for (const [node, inventory] of changes.inventory) {
      if (inventory === undefined) this.#inventory.delete(node);
      else this.#inventory.set(node, inventory);
    }
  }

  async readHistory(after: number, last: number, limit: number): Promise<readonly HistoryEntry[]> {
    const first = this.#history[0]?.seq ?? 1;
    const start = Math.max(0, after + 1 - first);
    return this.#history.slice(start, start + limit).filter((entry) => entry.seq <= last);
  }

  async readInventory(node: NodeUuid): Promise<JsonObject | undefined> {
    return this.#inventory.get(node);
  }

  async close(): Promise<void> {}
}
