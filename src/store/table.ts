import { Fault } from "../core/fault.ts";

/** How a table finds its rows: by one key, and by indexes whose entries are computed from the row. */
export interface TableShape<K extends string, V, I extends string> {
  /** What one row is called in a fault. */
  readonly noun: string;
  key(row: V): K;
  readonly indexes: Readonly<Record<I, TableIndex<V>>>;
}

export interface TableIndex<V> {
  /** null: the row is not in this index. */
  entry(row: V): string | null;
  /** At most one row for an entry; a second one is a conflict. */
  readonly unique: boolean;
}

const nothing: readonly never[] = [];

/**
 * Rows in memory, or a layer of changes over another table. Reading a layer sees its changes and, below them, the parent;
 * the parent is unchanged until `merge`. Rows keep the order in which their keys were first put.
 */
export class Table<K extends string, V, I extends string> {
  readonly #shape: TableShape<K, V, I>;
  readonly #indexes: readonly (readonly [I, TableIndex<V>])[];
  readonly #parent: Table<K, V, I> | undefined;
  /** undefined: deleted here, perhaps present below. Only in layers. */
  readonly #rows = new Map<K, V | undefined>();
  /** By index and entry: the key of the row, or of each where there are several. */
  readonly #entries = new Map<I, Map<string, K | Set<K>>>();
  #list: readonly V[] | undefined;

  constructor(shape: TableShape<K, V, I>, parent?: Table<K, V, I>) {
    this.#shape = shape;
    this.#indexes = parent === undefined ? (Object.entries(shape.indexes) as [I, TableIndex<V>][]) : parent.#indexes;
    this.#parent = parent;
  }

  /** A layer of changes over this table. */
  layer(): Table<K, V, I> {
    return new Table(this.#shape, this);
  }

  get(key: K): V | undefined {
    const own = this.#rows.get(key);
    return own !== undefined || this.#parent === undefined || this.#rows.has(key) ? own : this.#parent.get(key);
  }

  /** The rows whose entry in `index` is `entry`. */
  find(index: I, entry: string): readonly V[] {
    const parent = this.#parent;
    if (parent !== undefined && this.#rows.size === 0) return parent.find(index, entry);
    const own = this.#ownRows(index, entry);
    if (parent === undefined) return own;
    const below = parent.find(index, entry);
    if (below.length === 0) return own;
    if (own.length === 0 && below.every((row) => !this.#rows.has(this.#shape.key(row)))) return below;
    return [...below.filter((row) => !this.#rows.has(this.#shape.key(row))), ...own];
  }

  #ownRows(index: I, entry: string): readonly V[] {
    const keys = this.#entries.get(index)?.get(entry);
    if (keys === undefined) return nothing;
    if (typeof keys === "string") {
      const row = this.#rows.get(keys);
      return row === undefined ? [] : [row];
    }
    const own: V[] = [];
    for (const key of keys) {
      const row = this.#rows.get(key);
      if (row !== undefined) own.push(row);
    }
    return own;
  }

  /** How many rows a table that is no layer has. */
  get size(): number {
    return this.#rows.size;
  }

  /** The first rows, up to `limit`, of a table that is no layer. */
  head(limit: number): readonly V[] {
    const rows: V[] = [];
    for (const row of this.#rows.values()) {
      if (rows.length >= limit) break;
      if (row !== undefined) rows.push(row);
    }
    return rows;
  }

  list(): readonly V[] {
    if (this.#parent !== undefined && this.#rows.size === 0) return this.#parent.list();
    this.#list ??= this.#makeList();
    return this.#list;
  }

  #makeList(): readonly V[] {
    const rows: V[] = [];
    const seen = new Set<K>();
    for (const row of this.#parent?.list() ?? []) {
      const key = this.#shape.key(row);
      if (!this.#rows.has(key)) {
        rows.push(row);
        continue;
      }
      seen.add(key);
      const changed = this.#rows.get(key);
      if (changed !== undefined) rows.push(changed);
    }
    for (const [key, row] of this.#rows) if (row !== undefined && !seen.has(key)) rows.push(row);
    return rows;
  }

  /** @throws Fault conflict when another row has the same entry in a unique index */
  put(row: V): void {
    const key = this.#shape.key(row);
    for (const [name, index] of this.#indexes) {
      const entry = index.unique ? index.entry(row) : null;
      const holder = entry === null ? undefined : this.find(name, entry)[0];
      if (entry !== null && holder !== undefined && this.#shape.key(holder) !== key) {
        throw new Fault(
          "conflict",
          `${this.#shape.noun}.duplicate`,
          `a ${this.#shape.noun} with ${name} ${entry} exists already`,
          {
            detail: { field: name },
          },
        );
      }
    }
    this.#set(key, row);
  }

  delete(key: K): void {
    this.#set(key, undefined);
  }

  /** What a layer changed: the new row, or undefined for one deleted. */
  changes(): ReadonlyMap<K, V | undefined> {
    return this.#rows;
  }

  /** Moves a layer's changes into its parent. */
  merge(): void {
    if (this.#parent === undefined) return;
    for (const [key, row] of this.#rows) this.#parent.#set(key, row);
  }

  /** Indexes were held by `put`; the order in which a merge moves rows may break them for a moment. */
  #set(key: K, row: V | undefined): void {
    const old = this.#rows.get(key);
    if (row === undefined && this.#parent?.get(key) === undefined) this.#rows.delete(key);
    else this.#rows.set(key, row);
    for (const [name, index] of this.#indexes) {
      const before = old === undefined ? null : index.entry(old);
      const after = row === undefined ? null : index.entry(row);
      if (before === after) continue;
      if (before !== null) this.#unindex(name, before, key);
      if (after !== null) this.#index(name, after, key);
    }
    this.#list = undefined;
  }

  #index(name: I, entry: string, key: K): void {
    let entries = this.#entries.get(name);
    if (entries === undefined) this.#entries.set(name, (entries = new Map<string, K | Set<K>>()));
    const keys = entries.get(entry);
    if (keys === undefined) entries.set(entry, key);
    else entries.set(entry, typeof keys === "string" ? new Set([keys, key]) : keys.add(key));
  }

  #unindex(name: I, entry: string, key: K): void {
    const entries = this.#entries.get(name);
    const keys = entries?.get(entry);
    if (keys === key) entries?.delete(entry);
    else if (keys instanceof Set && keys.delete(key) && keys.size === 0) entries?.delete(entry);
  }
}
