import { copyFile, mkdir, open as openFile, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { Fault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import { type DirectoryGuard, storeInUse } from "./guard.ts";
import { readLog, writeLog } from "./level-log.ts";
import { checkTable } from "./level-table.ts";

export type Database = Level<string, string>;

/**
 * Opens the LevelDB in `directory`, made if there is none. Its tables are checked first, and mended where they are damaged.
 * One that has lost its list of tables is rebuilt: LevelDB would take it for new and remove every table it finds. What was
 * damaged is kept in `lost/`.
 * Without certainty that nobody else has the directory nothing is mended.
 * @throws Fault busy, storage
 */
export async function openDatabase(guard: DirectoryGuard, log: Log): Promise<Database> {
  const { directory, alone } = guard;
  const cut = alone && (await checkTables(directory, log));
  if (await hasLostItsManifest(directory)) await repairDatabase(guard, "its MANIFEST is missing", log);
  else if (cut) await repairDatabase(guard, "a table has another size than its MANIFEST says", log);
  try {
    return await open(directory);
  } catch (error) {
    if (codeOf(error) !== "LEVEL_CORRUPTION") throw openFault(directory, error);
    await repairDatabase(guard, messageOf(error), log);
  }
  try {
    return await open(directory);
  } catch (error) {
    throw openFault(directory, error);
  }
}

/**
 * Rebuilds the list of tables from tables and logs; the database must be closed and its tables checked.
 * @throws Fault storage
 */
export async function repairDatabase({ directory, alone }: DirectoryGuard, reason: string, log: Log): Promise<void> {
  if (!alone) {
    throw new Fault(
      "storage",
      "store.damaged",
      `the store ${directory} is damaged: ${reason}; start ironrackd, which repairs it`,
    );
  }
  log.error("store.corrupt", { reason: `${reason}; the database is repaired`, path: directory });
  // The types of `level` are those that browsers have too; in Node it is classic-level, which can repair.
  const { repair } = Level as unknown as { readonly repair: (location: string) => Promise<void> };
  try {
    await cleanLogs(directory);
    await repair(directory);
  } catch (error) {
    throw openFault(directory, error);
  }
}

export function isCorruption(error: unknown): boolean {
  return codeOf(error) === "LEVEL_CORRUPTION";
}

async function open(directory: string): Promise<Database> {
  // Without compression, so that what a damaged table still holds can be found.
  const database: Database = new Level(directory, { valueEncoding: "utf8", compression: false });
  await database.open();
  return database;
}

/** Whether a table may have been cut short. */
async function checkTables(directory: string, log: Log): Promise<boolean> {
  let cut = false;
  try {
    for (const name of await readdir(directory)) {
      if (!/^[0-9]+\.(ldb|sst)$/.test(name)) continue;
      const path = join(directory, name);
      const check = checkTable(await readFile(path));
      if (check.kind === "sound") continue;
      cut ||= check.kind === "mended" && check.cut;
      const lost = join(directory, "lost");
      await mkdir(lost, { recursive: true });
      if (check.kind === "unreadable") {
        log.error("store.corrupt", { path, reason: "no part of this table can be read" });
        await rename(path, join(lost, name));
        continue;
      }
      log.error("store.corrupt", {
        path,
        reason: "parts of this table cannot be read",
        kept: check.kept,
        lost: check.lost,
      });
      await copyFile(path, join(lost, name));
      await overwrite(path, check.table);
    }
    return cut;
  } catch (error) {
    throw openFault(directory, error);
  }
}

async function cleanLogs(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!/^[0-9]+\.log$/.test(name)) continue;
    const path = join(directory, name);
    const { records, damaged } = readLog(await readFile(path));
    if (!damaged) continue;
    const lost = join(directory, "lost");
    await mkdir(lost, { recursive: true });
    await writeFile(`${path}.clean`, writeLog(records), { flush: true });
    await rename(path, join(lost, name));
    await rename(`${path}.clean`, path);
  }
}

/** Not renamed into place: what is written leaves every block where it was, so half of it harms nothing. */
async function overwrite(path: string, content: Buffer): Promise<void> {
  await using file = await openFile(path, "r+");
  await file.write(content, 0, content.length, 0);
  await file.sync();
}

async function hasLostItsManifest(directory: string): Promise<boolean> {
  const names = await readdir(directory);
  if (!names.some((name) => /^(MANIFEST-[0-9]+|[0-9]+\.(log|ldb|sst))$/.test(name))) return false;
  const current = names.includes("CURRENT") ? (await readFile(join(directory, "CURRENT"), "utf8")).trim() : "";
  return !names.includes(current);
}

/** The code of LevelDB's own error, which abstract-level wraps. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const inner = codeOf(error.cause);
  return inner ?? ("code" in error ? String(error.code) : undefined);
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : messageOf(error.cause);
}

function openFault(directory: string, error: unknown): Fault {
  if (codeOf(error) === "LEVEL_LOCKED") return storeInUse(directory, error);
  return new Fault("storage", "store.unopened", `the store ${directory} cannot be opened: ${messageOf(error)}`, {
    cause: error,
  });
}

/** What LevelDB said about a failed reading or writing. */
export function levelFault(doing: string, error: unknown): Fault {
  return new Fault("storage", "store.failed", `the store could not be ${doing}: ${messageOf(error)}`, { cause: error });
}
