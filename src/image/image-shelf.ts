import { rmSync } from "node:fs";
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, statfs, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { type JsonObject, parseJsonObject } from "../core/json.ts";
import type { Random } from "../core/random.ts";
import type { Bytes } from "../core/units.ts";
import { storageFault } from "./storage-fault.ts";

/** A complete image on the shelf. */
export interface ShelvedImage {
  /** The key, and after a dot a word that is the image's own: a newer one does not take the file from under a reader. */
  readonly name: string;
  readonly bytes: number;
  /** Bytes on the disk: without the file's holes. */
  readonly allocated: number;
  /** What was told about it when it was put there. */
  readonly notes: JsonObject;
}

/** A local file that stays until it is disposed of. */
export interface HeldFile extends Disposable {
  readonly path: string;
  readonly bytes: number;
}

/** What of a draft is on the disk for good, and what its maker noted to go on from there. */
export interface Draft {
  readonly name: string;
  readonly path: string;
  readonly notes: JsonObject;
}

interface Entry extends ShelvedImage {
  /** No longer on the shelf; the file goes with its last reader. */
  retired: boolean;
  usedAt: number;
  pins: number;
}

interface LeftDraft extends Draft {
  readonly allocated: number;
}

export interface ImageShelfOptions {
  /** Made if it is not there; holds nothing but the shelf. */
  readonly directory: string;
  /** The most that is kept; what is in use may exceed it. */
  readonly maximumBytes: Bytes;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * The directory of images: complete ones by key, as `NAME.img` and `NAME.json` with what is known about them (the latter's mtime is the
 * last use), and drafts of those to come, `NAME.part`. A draft with notes, `NAME.part.json`, outlives the process; every other is
 * removed at the next start. What was not used for longest makes room.
 */
export class ImageShelf {
  readonly #options: ImageShelfOptions;
  readonly #entries = new Map<string, Entry>();
  /** By key: drafts that nobody works on. */
  readonly #drafts = new Map<string, LeftDraft>();
  #opened: Promise<void> | undefined;

  constructor(options: ImageShelfOptions) {
    this.#options = options;
  }

  /** Makes the directory and removes what an earlier process left behind for nothing. Idempotent. @throws Fault storage */
  open(): Promise<void> {
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined;
      throw storageFault(error);
    });
    return this.#opened;
  }

  async #open(): Promise<void> {
    const { directory } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
    const names = await readdir(directory);
    for (const name of names.filter((one) => one.endsWith(".img"))) await this.#readEntry(name.slice(0, -4));
    for (const name of names.filter((one) => one.endsWith(".part"))) await this.#readDraft(name.slice(0, -5));
    for (const name of names.filter((one) => one.endsWith(".part.json") || one.endsWith(".json.new"))) {
      const draft = name.slice(0, name.indexOf(".part.json"));
      if (![...this.#drafts.values()].some((one) => one.name === draft))
        await rm(join(directory, name), { force: true });
    }
  }

  /** Of two with the same key, the one that was used last counts. */
  async #readEntry(name: string): Promise<void> {
    const notes = this.#path(name, "json");
    const usedAt = await stat(notes).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    );
    const entry: Entry = {
      name,
      ...(await sizes(this.#path(name, "img"))),
      notes: (await readNotes(notes)) ?? {},
      retired: false,
      usedAt,
      pins: 0,
    };
    const key = keyOf(name);
    const other = this.#entries.get(key);
    if (other === undefined || other.usedAt < usedAt) this.#entries.set(key, entry);
    if (other !== undefined) this.#remove(other.usedAt < usedAt ? other : entry);
  }

  async #readDraft(name: string): Promise<void> {
    const notes = await readNotes(this.#path(name, "part.json"));
    if (notes === undefined || this.#drafts.has(keyOf(name))) this.discard(name);
    else await this.#leave(name, notes);
  }

  /** The newest image of that key. */
  find(key: string): ShelvedImage | undefined {
    return this.#entries.get(key);
  }

  /** Keeps the image's file until disposed of, and counts as a use of it. It must have been found in the same turn. */
  async hold(image: ShelvedImage): Promise<HeldFile> {
    const entry = image as Entry;
    entry.pins += 1;
    await this.#touch(entry);
    let held = true;
    return {
      path: this.#path(entry.name, "img"),
      bytes: entry.bytes,
      [Symbol.dispose]: () => {
        if (held) this.#unpin(entry);
        held = false;
      },
    };
  }

  /** A name for a new draft, and the file it is to be written to, which is not there. */
  newDraft(key: string): Draft {
    const name = `${key}.${this.#options.random.uuid()}`;
    return { name, path: this.#path(name, "part"), notes: {} };
  }

  /** A draft that an earlier transfer of that key left; it is the caller's now. */
  takeDraft(key: string): Draft | undefined {
    const draft = this.#drafts.get(key);
    this.#drafts.delete(key);
    return draft;
  }

  /** What the notes claim must be on the disk. They are there for the next process once this resolves; a crash leaves the old or the new ones. */
  async note(draft: Draft, notes: JsonObject): Promise<void> {
    const path = this.#path(draft.name, "part.json");
    await writeFile(`${path}.new`, JSON.stringify(notes), { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
  }

  /** Nobody works on the draft any more, but somebody may again: if it has notes. */
  async leave(draft: Draft): Promise<void> {
    const notes = await readNotes(this.#path(draft.name, "part.json"));
    if (notes === undefined || this.#drafts.has(keyOf(draft.name))) this.discard(draft.name);
    else await this.#leave(draft.name, notes);
  }

  async #leave(name: string, notes: JsonObject): Promise<void> {
    const path = this.#path(name, "part");
    const { allocated } = await sizes(path);
    this.#drafts.set(keyOf(name), { name, path, notes, allocated });
  }

  /** Removes a draft, if there still is one of that name. */
  discard(name: string): void {
    for (const ending of ["part", "part.json", "part.json.new"] as const)
      rmSync(this.#path(name, ending), { force: true });
  }

  /** The draft, whose bytes are on the disk, becomes the image of its key: first what is told about it, then its name, then the directory. */
  async keep(draft: Draft, notes: JsonObject): Promise<ShelvedImage> {
    const { name } = draft;
    const key = keyOf(name);
    const told = this.#path(name, "json");
    await writeFile(`${told}.new`, JSON.stringify(notes), { mode: 0o600, flush: true });
    await rename(`${told}.new`, told);
    await rename(draft.path, this.#path(name, "img"));
    const directory = await open(this.#options.directory, "r");
    await directory.sync();
    await directory.close();
    this.discard(name);
    const entry: Entry = {
      name,
      ...(await sizes(this.#path(name, "img"))),
      notes,
      retired: false,
      usedAt: this.#now(),
      pins: 0,
    };
    const old = this.#entries.get(key);
    this.#entries.set(key, entry);
    if (old !== undefined) this.#retire(old);
    // It may be more than is to be kept, and still is what somebody asked for.
    entry.pins += 1;
    this.makeRoom(0);
    entry.pins -= 1;
    return entry;
  }

  /** Removes what was not used for longest, drafts first, until there is room for so many bytes; what is in use stays. */
  makeRoom(bytes: number): void {
    this.#evict(bytes, this.#options.maximumBytes);
  }

  /** The disk is full, whatever may be kept: gives up as little as helps for so many bytes (NaN: as many as there are). Whether that was anything. */
  async freeSpace(bytes: number): Promise<boolean> {
    const before = this.#entries.size + this.#drafts.size;
    const sum = this.#sum();
    const missing = Number.isNaN(bytes) ? sum : bytes - (await this.freeBytes());
    this.#evict(0, Math.max(0, sum - missing));
    return this.#entries.size + this.#drafts.size < before;
  }

  /** What the file system has left for us. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#options.directory);
    return bavail * bsize;
  }

  /** Where nothing is and nothing is ever put, for a program that must find nothing beside it. */
  async emptyDirectory(): Promise<string> {
    const path = join(this.#options.directory, "empty");
    await mkdir(path, { recursive: true, mode: 0o555 });
    return path;
  }

  #sum(): number {
    const all = [...this.#entries.values(), ...this.#drafts.values()];
    return all.reduce((total, { allocated }) => total + allocated, 0);
  }

  #evict(bytes: number, most: number): void {
    let sum = this.#sum();
    for (const [key, draft] of this.#drafts) {
      if (sum + bytes <= most) return;
      this.#drafts.delete(key);
      this.discard(draft.name);
      sum -= draft.allocated;
    }
    for (const [key, entry] of [...this.#entries].sort(([, a], [, b]) => a.usedAt - b.usedAt)) {
      if (sum + bytes <= most) return;
      if (entry.pins > 0) continue;
      this.#entries.delete(key);
      this.#retire(entry);
      sum -= entry.allocated;
    }
  }

  #unpin(entry: Entry): void {
    entry.pins -= 1;
    if (entry.retired && entry.pins === 0) this.#remove(entry);
  }

  #retire(entry: Entry): void {
    entry.retired = true;
    if (entry.pins === 0) this.#remove(entry);
  }

  #remove(entry: Entry): void {
    rmSync(this.#path(entry.name, "img"), { force: true });
    rmSync(this.#path(entry.name, "json"), { force: true });
  }

  async #touch(entry: Entry): Promise<void> {
    entry.usedAt = this.#now();
    const time = this.#options.clock.wall();
    // Not that of the image: a stream from it would take it for changed.
    await utimes(this.#path(entry.name, "json"), time, time).catch(() => undefined); // only the order of eviction after a restart
  }

  #now(): number {
    return this.#options.clock.wall().getTime();
  }

  #path(name: string, ending: "img" | "json" | "part" | "part.json" | "part.json.new"): string {
    return join(this.#options.directory, `${name}.${ending}`);
  }
}

function keyOf(name: string): string {
  return name.slice(0, name.lastIndexOf("."));
}

async function sizes(path: string): Promise<{ readonly bytes: number; readonly allocated: number }> {
  const { size, blocks } = await stat(path);
  return { bytes: size, allocated: blocks * 512 };
}

/** Undefined when there are none that can be read: then it is as one of which nothing is known. */
async function readNotes(path: string): Promise<JsonObject | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text === undefined ? undefined : parseJsonObject(text);
}
