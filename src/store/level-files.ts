import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { Fault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import { storeInUse } from "./guard.ts";

export type Database = Level<string, string>;

/**
 * Opens the LevelDB in `directory`, made if there is none. One that has lost its list of tables is rebuilt first: LevelDB
 * would take it for new and remove every table it finds. What the repair could not use is moved to `lost/`.
 * @throws Fault busy, storage
 */
export async function openDatabase(directory: string, log: Log): Promise<Database> {
  if (await hasLostItsManifest(directory)) await repairDatabase(directory, "its MANIFEST is missing", log);
  try {
    return await open(directory);
  } catch (error) {
    if (codeOf(error) !== "LEVEL_CORRUPTION") throw openFault(directory, error);
    await repairDatabase(directory, messageOf(error), log);
  }
  try {
    return await open(directory);
  } catch (error) {
    throw openFault(directory, error);
  }
}

/** Rebuilds the list of tables from what is there; the database must be closed. @throws Fault storage */
export async function repairDatabase(directory: string, reason: string, log: Log): Promise<void> {
  log.error("store.corrupt", { reason: `${reason}; the database is repaired`, path: directory });
  // The types of `level` are those that browsers have too; in Node it is classic-level, which can repair.
  const { repair } = Level as unknown as { repair(location: string): Promise<void> };
  try {
    await repair(directory);
  } catch (error) {
    throw openFault(directory, error);
  }
}

export function isCorruption(error: unknown): boolean {
  return codeOf(error) === "LEVEL_CORRUPTION";
}

async function open(directory: string): Promise<Database> {
  const database: Database = new Level(directory, { valueEncoding: "utf8" });
  await database.open();
  return database;
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
