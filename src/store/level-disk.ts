import type { NodeUuid } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { type Fault, toFault } from "../core/fault.ts";
import type { JsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Disk } from "./disk.ts";
import type { DirectoryGuard } from "./guard.ts";
import { keys, seqOf } from "./keys.ts";
import { type Database, levelFault, openDatabase } from "./level-files.ts";
import type { Counts } from "./level-load.ts";
import { countsOf } from "./level-load.ts";
import type { RecordCodec } from "./record.ts";
import type { Changes, Marks, State } from "./state.ts";

type Operation =
  | { readonly type: "put"; readonly key: string; readonly value: string }
  | { readonly type: "del"; readonly key: string };

/** Pause between two attempts to open the database again after a failed write. */
const HEAL_PAUSE = 1000;

/** What a failed batch may have left on disk, and how to take it back. */
interface Damage {
  readonly undo: readonly Operation[];
  readonly triedAt: number;
  readonly fault: Fault;
}

/**
 * A Disk on LevelDB. After a failed write the end of its log is in doubt, and what would be written behind it might be lost
 * at the next start; so before the next write the database is closed, opened again (which starts a new log), and what the
 * failed batch may have left is undone. The directory's guard is held meanwhile.
 */
export class LevelDisk implements Disk {
  readonly #codec: RecordCodec;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #guard: DirectoryGuard;
  readonly #told = new Set<string>();
  #database: Database;
  #damage: Damage | undefined;

  constructor(parts: {
    readonly database: Database;
    readonly codec: RecordCodec;
    readonly guard: DirectoryGuard;
    readonly clock: Clock;
    readonly log: Log;
  }) {
    this.#database = parts.database;
    this.#codec = parts.codec;
    this.#guard = parts.guard;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  async write(changes: Changes, before: State, sync: boolean): Promise<void> {
    if (this.#damage !== undefined) await this.#heal(this.#damage);
    const inventories = await this.#inventoriesBefore(changes);
    try {
      await this.#writeBatch(this.#operations(changes, before), sync);
    } catch (error) {
      const fault = levelFault("written", error);
      this.#damage = { undo: this.#undo(changes, before, inventories), triedAt: Number.NEGATIVE_INFINITY, fault };
      throw fault;
    }
  }

  /** Operation by operation into one batch: an array of them, which `batch` also takes, costs four times as much. */
  async #writeBatch(operations: readonly Operation[], sync: boolean): Promise<void> {
    const batch = this.#database.batch();
    for (const operation of operations) {
      if (operation.type === "put") batch.put(operation.key, operation.value);
      else batch.del(operation.key);
    }
    await batch.write({ sync });
  }

  #operations(changes: Changes, before: State): Operation[] {
    const operations: Operation[] = [];
    for (const [uuid, node] of changes.nodes) operations.push(this.#operation(keys.node(uuid), node));
    for (const [uuid, port] of changes.ports) operations.push(this.#operation(keys.port(uuid), port));
    for (const [uuid, volume] of changes.volumes) operations.push(this.#operation(keys.volume(uuid), volume));
    for (const [address, lease] of changes.leases) operations.push(this.#operation(keys.lease(address), lease));
    for (const [address, lease] of changes.leases6) operations.push(this.#operation(keys.lease6(address), lease));
    for (const [id, command] of changes.commands) operations.push(this.#operation(keys.command(id), command));
    for (const [node, inventory] of changes.inventory)
      operations.push(this.#operation(keys.inventory(node), inventory));
    for (const entry of changes.history) operations.push(this.#operation(keys.history(entry.seq), entry));
    for (let seq = before.marks.firstSeq; seq < changes.marks.firstSeq; seq += 1) {
      operations.push(this.#operation(keys.history(seq), undefined));
    }
    const old = countsOf(before);
    const counts: Counts = {
      nodes: old.nodes + growth(changes.nodes, before.nodes),
      ports: old.ports + growth(changes.ports, before.ports),
      volumes: old.volumes + growth(changes.volumes, before.volumes),
      leases: old.leases + growth(changes.leases, before.leases),
      leases6: old.leases6 + growth(changes.leases6, before.leases6),
      commands: old.commands + growth(changes.commands, before.commands),
    };
    if (changes.marks !== before.marks || !sameCounts(counts, old)) {
      operations.push(this.#marks(changes.marks, counts));
    }
    return operations;
  }

  /** Puts back what `before` holds under every key of `changes`. */
  #undo(
    changes: Changes,
    before: State,
    inventories: ReadonlyMap<NodeUuid, JsonObject | undefined>,
  ): readonly Operation[] {
    const operations: Operation[] = [];
    for (const uuid of changes.nodes.keys()) operations.push(this.#operation(keys.node(uuid), before.nodes.get(uuid)));
    for (const uuid of changes.ports.keys()) operations.push(this.#operation(keys.port(uuid), before.ports.get(uuid)));
    for (const uuid of changes.volumes.keys())
      operations.push(this.#operation(keys.volume(uuid), before.volumes.get(uuid)));
    for (const address of changes.leases.keys())
      operations.push(this.#operation(keys.lease(address), before.leases.get(address)));
    for (const address of changes.leases6.keys())
      operations.push(this.#operation(keys.lease6(address), before.leases6.get(address)));
    for (const id of changes.commands.keys())
      operations.push(this.#operation(keys.command(id), before.commands.get(id)));
    for (const [node, inventory] of inventories) operations.push(this.#operation(keys.inventory(node), inventory));
    for (const entry of changes.history) operations.push(this.#operation(keys.history(entry.seq), undefined));
    operations.push(this.#marks(before.marks, countsOf(before)));
    return operations;
  }

  #operation(key: string, value: object | undefined): Operation {
    return value === undefined ? { type: "del", key } : { type: "put", key, value: this.#codec.encode(key, value) };
  }

  #marks(marks: Marks, counts: Counts): Operation {
    return this.#operation(keys.marks, { ...marks, counts });
  }

  /** Inventories are not in memory; what a failed batch would have replaced is read before. */
  async #inventoriesBefore(changes: Changes): Promise<ReadonlyMap<NodeUuid, JsonObject | undefined>> {
    const found = new Map<NodeUuid, JsonObject | undefined>();
    for (const node of changes.inventory.keys()) found.set(node, await this.readInventory(node));
    return found;
  }

  async #heal(damage: Damage): Promise<void> {
    const now = this.#clock.now();
    if (now - damage.triedAt < HEAL_PAUSE) throw damage.fault;
    try {
      await this.#database.close();
      this.#database = await openDatabase(this.#guard, this.#log);
      await this.#writeBatch(damage.undo, true);
      this.#damage = undefined;
      this.#log.info("store.opened", { reason: "opened again after a failed write" });
    } catch (error) {
      const fault = levelFault("opened again after a failed write", toFault(error));
      this.#damage = { ...damage, triedAt: now, fault };
      throw fault;
    }
  }

  async readHistory(after: number, last: number, limit: number): Promise<readonly HistoryEntry[]> {
    const entries: HistoryEntry[] = [];
    let from = Math.max(0, after);
    // Another round only where a record could not be read: fewer than `limit` would mean the end.
    while (entries.length < limit && from < last) {
      const range = { gt: keys.history(from), lte: keys.history(last), limit: limit - entries.length };
      const rows = await this.#reading(() =>
        this.#database.iterator<string, Buffer>({ ...range, valueEncoding: "buffer" }).all(),
      );
      for (const [key, stored] of rows) {
        const entry = this.#decode(key, stored);
        if (entry !== undefined) entries.push(entry as unknown as HistoryEntry);
      }
      const end = rows.at(-1)?.[0];
      if (end === undefined) break;
      from = seqOf(end);
    }
    return entries;
  }

  async readInventory(node: NodeUuid): Promise<JsonObject | undefined> {
    const key = keys.inventory(node);
    const stored = await this.#reading(() => this.#database.get<string, Buffer>(key, { valueEncoding: "buffer" }));
    return stored === undefined ? undefined : this.#decode(key, stored);
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      throw levelFault("read", error);
    }
  }

  /** undefined, and told once, for a record that cannot be read. */
  #decode(key: string, stored: Buffer): JsonObject | undefined {
    try {
      return this.#codec.decode(key, stored).value;
    } catch (error) {
      if (!this.#told.has(key)) this.#log.error("store.corrupt", { record: key, reason: toFault(error).message });
      this.#told.add(key);
      return undefined;
    }
  }

  async close(): Promise<void> {
    try {
      if (this.#damage !== undefined) await this.#heal({ ...this.#damage, triedAt: Number.NEGATIVE_INFINITY });
    } catch (error) {
      const fault = toFault(error);
      this.#log.error("store.failed", { code: fault.code, reason: fault.message }, error);
    }
    await this.#database.close();
    await this.#guard[Symbol.asyncDispose]();
  }
}

function sameCounts(a: Counts, b: Counts): boolean {
  return (
    a.nodes === b.nodes &&
    a.ports === b.ports &&
    a.leases === b.leases &&
    a.leases6 === b.leases6 &&
    a.commands === b.commands
  );
}

function growth<K extends string, V>(
  changes: ReadonlyMap<K, V | undefined>,
  before: { get(key: K): V | undefined },
): number {
  let sum = 0;
  for (const [key, row] of changes) sum += Number(row !== undefined) - Number(before.get(key) !== undefined);
  return sum;
}
