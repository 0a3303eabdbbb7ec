import { type BigIntStats, statSync } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { sep } from "node:path";
import { Fault } from "../core/fault.ts";

/** An open file of which any part can be read. */
export interface BootFile extends AsyncDisposable {
  readonly size: number;
  /** Changes whenever the contents may have. */
  readonly version: string;
  readonly modified: Date;
  /** Exactly this part. @throws Fault storage when the file is shorter by now */
  read(offset: number, length: number): Promise<Uint8Array>;
  readonly handle: FileHandle | null;
}

/** Where the path leads once links are followed, if that is below the root; or null. @throws Fault storage */
export async function pathInside(root: string, path: string): Promise<string | null> {
  try {
    const top = await realpath(root);
    const found = await realpath(path);
    return found.startsWith(top.endsWith(sep) ? top : top + sep) ? found : null;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw storageFault(path, error);
  }
}

/** null: there is none, or it is not a plain file. @throws Fault storage */
export async function openBootFile(path: string): Promise<DiskFile | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (isAbsent(error)) return null;
    throw storageFault(path, error);
  }
  const status = await handle.stat({ bigint: true });
  if (status.isFile()) return new DiskFile(path, handle, status);
  await handle.close();
  return null;
}

/** A plain file, as it was when it was opened. */
export class DiskFile implements BootFile {
  readonly size: number;
  readonly version: string;
  readonly modified: Date;
  readonly handle: FileHandle;
  readonly #path: string;
  readonly #status: BigIntStats;
  #closed: Promise<void> | undefined;

  constructor(path: string, handle: FileHandle, status: BigIntStats) {
    this.#path = path;
    this.handle = handle;
    this.#status = status;
    this.size = Number(status.size);
    this.version = `${status.size.toString(36)}-${status.mtimeNs.toString(36)}-${status.ino.toString(36)}`;
    this.modified = status.mtime;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return readExactly(this.handle, this.#path, offset, length);
  }

  /**
   * Whether the path leads to this file still, and nobody has written to it. Asked for at once: what was opened lately the
   * kernel answers from memory, in a fiftieth of the time that Node takes to have it asked elsewhere.
   */
  isAt(path: string): boolean {
    const now = statSync(path, { bigint: true, throwIfNoEntry: false });
    const then = this.#status;
    return (
      now?.ino === then.ino &&
      now.dev === then.dev &&
      now.size === then.size &&
      now.mtimeNs === then.mtimeNs &&
      now.ctimeNs === then.ctimeNs
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.handle.close();
    return this.#closed;
  }
}

async function readExactly(handle: FileHandle, path: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length);
  let have = 0;
  while (have < length) {
    const { bytesRead } = await handle.read(bytes, have, length - have, offset + have);
    if (bytesRead === 0) throw new Fault("storage", "file.shrunk", `${path} became shorter while it was sent`);
    have += bytesRead;
  }
  return bytes;
}

/** Bytes that are made for one client. */
export function memoryFile(bytes: Uint8Array, version: string, modified: Date): BootFile {
  return {
    size: bytes.length,
    version,
    modified,
    handle: null,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    [Symbol.asyncDispose]: async () => {},
  };
}

function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR" || code === "ELOOP" || code === "ENAMETOOLONG";
}

function storageFault(path: string, error: unknown): Fault {
  return new Fault("storage", "file.unreadable", `${path} cannot be read: ${(error as Error).message}`, {
    cause: error,
  });
}
