import { stat } from "node:fs/promises";
import { fileDigest } from "./file-digest.ts";
import { checksumFault, type ImageChecksum } from "./image-source.ts";
import type { JobOptions } from "./native-job.ts";

/** What is remembered at most; more would be a rack that never deploys the same image twice. */
const MOST = 1000;

/**
 * The checksums of the operator's own image files. What was found right once is not read again while the file is the same:
 * same path, same inode, same size, and neither written nor changed since.
 */
export class ProvenFiles {
  readonly #proven = new Map<string, string>();

  /** @throws Fault invalid (the checksum is another), storage, cancelled */
  async prove(
    path: string,
    checksum: ImageChecksum,
    options: JobOptions<{ readonly bytes: number; readonly total: number }>,
  ): Promise<void> {
    const key = `${checksum.algorithm} ${path}`;
    const before = await identity(path);
    const known = this.#proven.get(key);
    if (known === `${before} ${checksum.value}`) return;
    const found = await fileDigest(path, checksum.algorithm, options);
    const now = await identity(path);
    if (found !== checksum.value) throw checksumFault(path, checksum, found);
    if (now !== before) return; // somebody wrote to it meanwhile
    this.#proven.delete(key);
    this.#proven.set(key, `${now} ${found}`);
    const [oldest] = this.#proven.keys();
    if (this.#proven.size > MOST && oldest !== undefined) this.#proven.delete(oldest);
  }
}

async function identity(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}
