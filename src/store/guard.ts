import { stat } from "node:fs/promises";
import { createServer } from "node:net";
import { Fault } from "../core/fault.ts";

/**
 * Holds `directory` for this process until disposed of. LevelDB's own lock is an fcntl lock, which a process loses when it
 * merely closes the file LOCK again; so a name in the kernel is held besides: an abstract Unix socket named after the
 * directory's inode. The kernel gives it to one socket only and takes it back when the process dies, however it dies.
 * Abstract names belong to a network namespace; between two of them only LevelDB's lock stands.
 * @throws Fault busy when another process, or this one, holds it
 */
export async function guardDirectory(directory: string): Promise<AsyncDisposable> {
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
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
      }),
  };
}

export function storeInUse(directory: string, cause: unknown): Fault {
  return new Fault("busy", "store.in-use", `the store ${directory} is in use by a running ironrackd`, { cause });
}
