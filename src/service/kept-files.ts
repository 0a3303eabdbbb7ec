import type { Clock } from "../core/clock.ts";
import { type Millis, seconds } from "../core/units.ts";
import { type BootFile, type DiskFile, openBootFile, pathInside } from "./boot-file.ts";

/** So many at most, and so long after the last use: a file that was removed takes its room on the disk until then. */
const MOST = 32;
const KEPT_FOR = seconds(20);

export interface FilePlace {
  readonly path: string;
  /** The directory that it must lie in, also once links are followed; null: it may lie anywhere. */
  readonly root: string | null;
}

interface Kept {
  readonly file: DiskFile;
  users: number;
  usedAt: Millis;
  /** Nobody is given it any more: it closes with its last user. */
  dropped: boolean;
}

/**
 * Keeps files open for a while after they were used: machines that boot together ask for the same few, and to find, open and
 * look at a file takes Node longer than to send a small one.
 */
export class KeptFiles implements AsyncDisposable {
  readonly #clock: Clock;
  /** By where it lies, in the order of their last use. */
  readonly #kept = new Map<string, Kept>();
  readonly #opening = new Map<string, Promise<Kept | null>>();
  #cancelSweep: (() => void) | null = null;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The file that lies there now, to be given back by its disposal; null: none. @throws Fault storage when it cannot be read */
  async open(place: FilePlace): Promise<BootFile | null> {
    const key = `${place.root ?? ""}\0${place.path}`;
    for (;;) {
      const kept = this.#current(key, place) ?? (await this.#opened(key, place));
      if (kept === null) return null;
      // Between the opening and here somebody may have found that it is another file by now.
      if (!kept.dropped || this.#closed) return this.#lend(key, kept);
    }
  }

  #current(key: string, place: FilePlace): Kept | null {
    const kept = this.#kept.get(key);
    if (kept === undefined) return null;
    if (kept.file.isAt(place.path)) return kept;
    void this.#drop(key, kept);
    return null;
  }

  /** Those who ask while it is being opened get the same. */
  #opened(key: string, place: FilePlace): Promise<Kept | null> {
    const opening = this.#opening.get(key) ?? this.#openFresh(key, place).finally(() => this.#opening.delete(key));
    this.#opening.set(key, opening);
    return opening;
  }

  async #openFresh(key: string, { root, path }: FilePlace): Promise<Kept | null> {
    const found = root === null ? path : await pathInside(root, path);
    const file = found === null ? null : await openBootFile(found);
    if (file === null) return null;
    const kept = { file, users: 0, usedAt: this.#clock.now(), dropped: this.#closed };
    if (this.#closed) return kept;
    const before = this.#kept.get(key);
    if (before !== undefined) void this.#drop(key, before);
    this.#kept.set(key, kept);
    return kept;
  }

  #lend(key: string, kept: Kept): BootFile {
    const { file } = kept;
    kept.users += 1;
    this.#use(key, kept);
    let lent = true;
    return {
      size: file.size,
      version: file.version,
      modified: file.modified,
      handle: file.handle,
      read: (offset, length) => file.read(offset, length),
      [Symbol.asyncDispose]: async () => {
        if (!lent) return;
        lent = false;
        kept.users -= 1;
        this.#use(key, kept);
        if (kept.dropped && kept.users === 0) await file[Symbol.asyncDispose]();
      },
    };
  }

  #use(key: string, kept: Kept): void {
    if (kept.dropped) return;
    kept.usedAt = this.#clock.now();
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    for (const [oldest, other] of this.#kept) {
      if (this.#kept.size <= MOST) break;
      void this.#drop(oldest, other);
    }
    this.#cancelSweep ??= this.#clock.after(KEPT_FOR, () => this.#sweep());
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const [key, kept] of this.#kept)
      if (kept.users === 0 && now - kept.usedAt >= KEPT_FOR) void this.#drop(key, kept);
    this.#cancelSweep = this.#kept.size === 0 ? null : this.#clock.after(KEPT_FOR, () => this.#sweep());
  }

  async #drop(key: string, kept: Kept): Promise<void> {
    this.#kept.delete(key);
    kept.dropped = true;
    if (kept.users === 0) await kept.file[Symbol.asyncDispose]();
  }

  /** What is lent out stays open until it is given back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancelSweep?.();
    await Promise.all([...this.#kept].map(([key, kept]) => this.#drop(key, kept)));
  }
}
