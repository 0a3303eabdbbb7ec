import { Fault } from "../core/fault.ts";
import { isJsonObject, type JsonObject, numberProperty, stringProperty } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import { keys } from "./keys.ts";
import type { Database } from "./level-files.ts";
import { RecordCodec } from "./record.ts";
import type { Seal } from "./seal.ts";

/** A record with its key, its secrets in the open. */
export interface StoredRecord {
  readonly key: string;
  readonly value: JsonObject;
}

/** How records of schema `to - 1` become records of schema `to`: pure, and total over every record of the store. */
export interface Migration {
  readonly to: number;
  readonly sentence: string;
  /** What stands in the record's place: itself, changed or under another key; none; or several. */
  record(record: StoredRecord): readonly StoredRecord[];
}

/** All steps from schema 1 to the present one, in order. */
export const migrations: readonly Migration[] = [];

export function schemaOf(steps: readonly Migration[]): number {
  return steps.at(-1)?.to ?? 1;
}

/**
 * Brings the database to the schema after the last of `steps`, all in one batch: it is of the old schema or of the new
 * one, never between. @throws Fault storage when it is of a newer schema, or was written with another key
 */
export async function migrate(database: Database, seal: Seal, steps: readonly Migration[], log: Log): Promise<void> {
  const wanted = schemaOf(steps);
  const codec = new RecordCodec(seal, wanted);
  const found = await readSchema(database, seal, log);
  if (found !== undefined && found > wanted) {
    throw new Fault(
      "storage",
      "store.newer",
      `the store was written by a newer ironrack (schema ${found}, this one knows ${wanted}); install that version again, or start with a copy made before`,
    );
  }
  if (found === wanted) return;
  const removed: { type: "del"; key: string }[] = [];
  const written: { type: "put"; key: string; value: string }[] = [];
  if (found !== undefined) {
    for await (const [key, stored] of database.iterator<string, Buffer>({ valueEncoding: "buffer" })) {
      if (key === keys.schema || key.startsWith(keys.aside(""))) continue;
      const records = migrateRecord(codec, key, stored, steps);
      if (records === undefined) continue; // loading sets it aside
      removed.push({ type: "del", key });
      for (const record of records)
        written.push({ type: "put", key: record.key, value: codec.encode(record.key, record.value) });
    }
    log.info("store.migrated", { from: found, to: wanted, records: written.length });
  }
  // Readable without the key.
  written.push({ type: "put", key: keys.schema, value: JSON.stringify({ schema: wanted, key: seal.fingerprint }) });
  await database.batch([...removed, ...written], { sync: true });
}

function migrateRecord(
  codec: RecordCodec,
  key: string,
  stored: Buffer,
  steps: readonly Migration[],
): readonly StoredRecord[] | undefined {
  try {
    const { version, value } = codec.decode(key, stored);
    let records: readonly StoredRecord[] = [{ key, value }];
    for (const step of steps) if (step.to > version) records = records.flatMap((record) => step.record(record));
    return records;
  } catch {
    return undefined;
  }
}

/**
 * The schema, undefined for a new store. Where the record of it is lost, 0: every record tells its own version, and what
 * is of the present one already is left as it is.
 */
async function readSchema(database: Database, seal: Seal, log: Log): Promise<number | undefined> {
  const stored = await database.get(keys.schema);
  const value = stored === undefined ? undefined : parseSchema(stored);
  if (value === undefined) {
    const [any] = await database.keys({ limit: 1 }).all();
    if (any === undefined) return undefined;
    log.error("store.corrupt", { record: keys.schema, reason: "it is lost; the records' own versions are used" });
    return 0;
  }
  if (value.key !== seal.fingerprint) {
    throw new Fault(
      "storage",
      "store.key",
      "the store was written with another key; put its key file back, or move the store away to begin anew",
    );
  }
  return value.schema;
}

function parseSchema(stored: string): { readonly schema: number; readonly key: string } | undefined {
  try {
    const value: unknown = JSON.parse(stored);
    if (!isJsonObject(value)) return undefined;
    const schema = numberProperty(value, "schema");
    const key = stringProperty(value, "key");
    return schema === undefined || key === undefined ? undefined : { schema, key };
  } catch {
    return undefined;
  }
}
