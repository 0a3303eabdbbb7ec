import { chmod, mkdir, stat } from "node:fs/promises";
import type { Clock } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Store } from "../domain/store.ts";
import { type DirectoryGuard, guardDirectory } from "./guard.ts";
import { IndexedStore } from "./indexed-store.ts";
import { LevelDisk } from "./level-disk.ts";
import { type Database, isCorruption, levelFault, openDatabase, repairDatabase } from "./level-files.ts";
import { loadState } from "./level-load.ts";
import { migrate, type Migration, migrations, schemaOf } from "./migrations.ts";
import { RecordCodec } from "./record.ts";
import { defaultRetention, type Retention } from "./retention.ts";
import { Seal } from "./seal.ts";
import type { State } from "./state.ts";

export interface StoreOptions {
  /** Made with mode 0700 if it is not there. Holds nothing but the store. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** 32 bytes that encrypt secrets at rest; see readStoreKey. */
  readonly key: Uint8Array;
  readonly retention?: Partial<Retention>;
  /** Other than the program's own only in tests. */
  readonly migrations?: readonly Migration[];
}

/**
 * The store on disk, held by this process alone until it is disposed of.
 * @throws Fault busy when another process has it, storage when it cannot be opened, is newer, or has another key
 */
export async function openStore(options: StoreOptions): Promise<Store & AsyncDisposable> {
  const { directory, clock, log } = options;
  const started = clock.now();
  const seal = new Seal(options.key);
  const steps = options.migrations ?? migrations;
  const codec = new RecordCodec(seal, schemaOf(steps));
  await makeDirectory(directory);
  const guard = await guardDirectory(directory);
  try {
    const { database, state } = await openAndLoad(guard, log, async (opened) => {
      await migrate(opened, seal, steps, log);
      return await loadState(opened, codec, log);
    });
    const disk = new LevelDisk({ database, codec, guard, clock, log });
    log.info("store.opened", { nodes: state.nodes.size, elapsed_ms: Math.round(clock.now() - started) });
    return new IndexedStore({ state, disk, clock, log, retention: { ...defaultRetention, ...options.retention } });
  } catch (error) {
    await guard[Symbol.asyncDispose]();
    throw error;
  }
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const { uid } = await stat(directory);
    if (uid !== process.geteuid?.()) {
      // Files made by another user, root above all, would keep the daemon out.
      throw new Fault(
        "storage",
        "store.owner",
        `the store ${directory} belongs to user ${uid}; run this as that user: sudo -u '#${uid}' …`,
      );
    }
    await chmod(directory, 0o700);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault(
      "storage",
      "store.directory",
      `the directory ${directory} cannot be made ours: ${String((error as NodeJS.ErrnoException).code)}`,
      { cause: error },
    );
  }
}

/** Damage in a table shows itself only when it is read: then the database is repaired, once. */
async function openAndLoad(
  guard: DirectoryGuard,
  log: Log,
  load: (database: Database) => Promise<State>,
): Promise<{ readonly database: Database; readonly state: State }> {
  for (let attempt = 1; ; attempt += 1) {
    const database = await openDatabase(guard, log);
    try {
      return { database, state: await load(database) };
    } catch (error) {
      await database.close();
      if (error instanceof Fault) throw error;
      if (attempt > 1 || !isCorruption(error)) throw levelFault("read", error);
      await repairDatabase(guard, String(error), log);
    }
  }
}
