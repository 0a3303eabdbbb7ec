import { stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Fault, isFault } from "../core/fault.ts";
import { lockFile } from "../core/native-addon.ts";

/** Not LevelDB's LOCK: whoever closes that file again loses LevelDB's lock on it. */
const LOCK = "ironrack.lock";

/** A directory that this process holds until it disposes of the guard, or dies. */
export interface DirectoryGuard extends AsyncDisposable {
  readonly directory: string;
  /** Certainly nobody else on this machine has it, so its files may be mended. */
  readonly alone: boolean;
}

/**
 * Holds `directory` for this process. LevelDB's own lock is an fcntl lock, which a process loses when it merely closes the
 * file LOCK again, and which is not taken before the tables are checked; so flock(2) is held besides, on a file of our own.
 * Where the addon is not built, an abstract Unix socket named after the directory's inode takes its place: it too ends with
 * the process, but is not seen from another network namespace.
 * @throws Fault busy when another process, or this one, holds it
 */
export async function guardDirectory(directory: string): Promise<DirectoryGuard> {
  const lock = takeLock(join(directory, LOCK));
  if (lock === false) throw storeInUse(directory, undefined);
  if (lock === undefined) return await bindName(directory);
  return {
    directory,
    alone: true,
    [Symbol.asyncDispose]: () => {
      lock.release();
      return Promise.resolve();
    },
  };
}

/** undefined without the addon. */
function takeLock(path: string): ReturnType<typeof lockFile> | undefined {
  try {
    return lockFile(path);
  } catch (error) {
    if (isFault(error) && error.code === "addon.missing") return undefined;
    throw error;
  }
}

async function bindName(directory: string): Promise<DirectoryGuard> {
  const { dev, ino } = await stat(directory, { bigint: true });
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const fault = new Fault("storage", "store.guard", `the store ${directory} cannot be guarded: ${error.code}`, {
        cause: error,
      });
      reject(error.code === "EADDRINUSE" ? storeInUse(directory, error) : fault);
    });
    server.listen(`\0ironrack-store-${dev.toString(16)}-${ino.toString(16)}`, resolve);
  });
  server.unref();
  return {
    directory,
    alone: false,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
      }),
  };
}

export function storeInUse(directory: string, cause: unknown): Fault {
  return new Fault("busy", "store.in-use", `the store ${directory} is in use by a running ironrackd`, { cause });
}
