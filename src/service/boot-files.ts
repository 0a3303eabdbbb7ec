import { type FileHandle, open, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { Fault } from "../core/fault.ts";
import { rootedName } from "../protocol/tftp/file-name.ts";

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

export interface BootFilesOptions {
  /** Names that firmware asks for, with the files they stand for: loaders. They may lie anywhere. */
  readonly named: ReadonlyMap<string, string>;
  /** A directory whose files are given out too, or null. */
  readonly root: string | null;
}

/** The files that TFTP and HTTP give out, by name. */
export class BootFiles {
  readonly #options: BootFilesOptions;

  constructor(options: BootFilesOptions) {
    this.#options = options;
  }

  /** null: there is no such file, or its name leads out of the root. @throws Fault storage when it cannot be read */
  async open(name: string): Promise<BootFile | null> {
    const rooted = rootedName(name);
    if (rooted === null) return null;
    const named = this.#options.named.get(rooted);
    if (named !== undefined) return await openBootFile(named);
    if (this.#options.root === null) return null;
    const path = await inside(this.#options.root, rooted);
    return path === null ? null : await openBootFile(path);
  }
}

/** The file of this path, which must lie in one of the directories, also once links are followed; or null. @throws Fault storage */
export async function openFileIn(directories: readonly string[], path: string): Promise<BootFile | null> {
  for (const root of directories) {
    if (!path.startsWith(`${root}${sep}`)) continue;
    const found = await inside(root, path.slice(root.length + 1));
    if (found !== null) return await openBootFile(found);
  }
  return null;
}

/** Where the name leads once links are followed, if that is below the root. */
async function inside(root: string, name: string): Promise<string | null> {
  try {
    const top = await realpath(root);
    const path = await realpath(join(top, name));
    return path.startsWith(top.endsWith(sep) ? top : top + sep) ? path : null;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw storageFault(name, error);
  }
}

/** null: there is none, or it is not a plain file. @throws Fault storage */
export async function openBootFile(path: string): Promise<BootFile | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (isAbsent(error)) return null;
    throw storageFault(path, error);
  }
  const status = await handle.stat({ bigint: true });
  if (!status.isFile()) {
    await handle.close();
    return null;
  }
  let closed: Promise<void> | undefined;
  return {
    size: Number(status.size),
    version: `${status.size.toString(36)}-${status.mtimeNs.toString(36)}-${status.ino.toString(36)}`,
    modified: status.mtime,
    handle,
    read: (offset, length) => readExactly(handle, path, offset, length),
    [Symbol.asyncDispose]: () => (closed ??= handle.close()),
  };
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
