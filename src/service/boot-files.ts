import { join, sep } from "node:path";
import type { Clock } from "../core/clock.ts";
import { rootedName } from "../protocol/tftp/file-name.ts";
import type { BootFile } from "./boot-file.ts";
import { KeptFiles } from "./kept-files.ts";

export interface BootFilesOptions {
  readonly clock: Clock;
  /** Names that firmware asks for, with the files they stand for: loaders. They may lie anywhere. */
  readonly named: ReadonlyMap<string, string>;
  /** A directory whose files are given out too, or null. */
  readonly root: string | null;
}

/** The files that TFTP and HTTP give out. All that is opened throws Fault storage where it cannot be read. */
export class BootFiles implements AsyncDisposable {
  readonly #options: BootFilesOptions;
  readonly #kept: KeptFiles;

  constructor(options: BootFilesOptions) {
    this.#options = options;
    this.#kept = new KeptFiles(options.clock);
  }

  /** What firmware calls so; null: there is no such file, or its name leads out of the root. */
  async open(name: string): Promise<BootFile | null> {
    const rooted = rootedName(name);
    if (rooted === null) return null;
    const named = this.#options.named.get(rooted);
    if (named !== undefined) return await this.openPath(named);
    const { root } = this.#options;
    return root === null ? null : await this.#kept.open({ root, path: join(root, rooted) });
  }

  /** The file of this path, wherever it leads; or null. */
  async openPath(path: string): Promise<BootFile | null> {
    return await this.#kept.open({ root: null, path });
  }

  /** The file of this path, which must lie in one of the directories, also once links are followed; or null. */
  async openIn(directories: readonly string[], path: string): Promise<BootFile | null> {
    for (const root of directories) {
      const file = path.startsWith(`${root}${sep}`) ? await this.#kept.open({ root, path }) : null;
      if (file !== null) return file;
    }
    return null;
  }

  /** What is lent out stays open until it is given back. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#kept[Symbol.asyncDispose]();
  }
}
