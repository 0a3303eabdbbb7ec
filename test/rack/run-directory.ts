import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREFIX = "ironrack-rack-";

/** A short-named directory for sockets that says in its name whose it is. */
export function makeRunDirectory(parent = tmpdir()): string {
  mkdirSync(parent, { recursive: true });
  return mkdtempSync(join(parent, `${PREFIX}${process.pid}-`));
}

/** The names among `entries` that racks of processes which no longer live have left. */
export function leftovers(entries: readonly string[], isAlive: (pid: number) => boolean): readonly string[] {
  return entries.filter((entry) => {
    const pid = /^ironrack-rack-(\d+)-[A-Za-z0-9]{6}$/.exec(entry)?.[1];
    return pid !== undefined && !isAlive(Number(pid));
  });
}

/** Removes what earlier racks left that were killed. Answers the names. */
export function removeLeftovers(parent = tmpdir()): readonly string[] {
  const dead = leftovers(readdirSync(parent), processIsAlive);
  for (const name of dead) rmSync(join(parent, name), { recursive: true, force: true });
  return dead;
}

function processIsAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
