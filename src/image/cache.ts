import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, statfs, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, throwIfAborted } from "../core/clock.ts";
import { toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { NativeDownload } from "../core/native-addon.ts";
import type { Random } from "../core/random.ts";
import type { Bytes, Millis } from "../core/units.ts";
import { type Downloaded, ImageDownloader, storageFault, type Validators } from "./image-download.ts";
import { allowedFile, type ImageChecksum, type ImageReference, locateImage, shownSource } from "./image-source.ts";
import { ProvenFiles } from "./proven-files.ts";

/** A local file with an image. A cached one stays until it is disposed of. */
export interface HeldImage extends Disposable {
  readonly path: string;
  readonly bytes: number;
  /** The image still arrives; to be given to the stream. Whether it is the right one is known at its end. */
  readonly download?: NativeDownload | undefined;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly log: Log;
  /** `total` is 0 while it is not known. */
  readonly onProgress?: (bytes: number, total: number) => void;
  /**
   * An image that has begun to arrive will do; without it, only a whole and checked one. What somebody was given so is fetched to
   * its end, whoever leaves. "continue" is told when a transfer begun before has failed since; "begin" tries anew.
   */
  readonly early?: "begin" | "continue" | undefined;
}

export interface ImageCacheOptions {
  /** Made if it is not there; holds nothing but the cache. */
  readonly directory: string;
  /** The most that is kept; what is in use may exceed it. */
  readonly maximumBytes: Bytes;
  /** Where images may be named by path. */
  readonly fileDirectories: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Silence after which a transfer counts as broken. */
  readonly silence?: Millis;
  /** Authorities of image servers; without it, the system's. */
  readonly caFile?: string | undefined;
}

/** A complete image in the directory: `NAME.img`, and `NAME.json` with where it came from; the latter's mtime is the last use. */
interface Entry {
  /** The key, and after a dot a word that is the image's own: a newer one does not take the file from under a reader. */
  readonly name: string;
  /** No longer in the cache; the file goes with its last reader. */
  retired: boolean;
  readonly bytes: number;
  /** Bytes on the disk: without the file's holes. */
  readonly allocated: number;
  readonly validators: Validators | undefined;
  usedAt: number;
  pins: number;
}

/** An image of which enough is there to begin with. */
interface Arriving {
  readonly path: string;
  readonly bytes: number;
  readonly download: NativeDownload;
}

interface Running {
  readonly promise: Promise<Entry>;
  readonly arriving: Promise<Arriving>;
  /** Somebody was given what arrives: it is fetched to the end. */
  kept: boolean;
  readonly controller: AbortController;
  readonly watchers: Set<FetchOptions>;
}

interface Transfer {
  readonly key: string;
  readonly url: URL;
  readonly checksum: ImageChecksum | undefined;
  readonly signal: AbortSignal;
  readonly watchers: ReadonlySet<FetchOptions>;
  /** Called when enough is there to begin with. */
  readonly begun: (arriving: Arriving) => void;
}

/** So much of an image must have come before it is handed out. */
const ENOUGH = 65_536;

/**
 * Brings images to the local disk and checks them. An image with a checksum is kept under it, wherever it came from; one
 * without is kept under its URL and asked after each time. All who want the same image share one transfer. Files of the
 * operator's are used where and as they are, once the addon has found their checksum right.
 */
export class ImageCache implements AsyncDisposable {
  readonly #options: ImageCacheOptions;
  readonly #downloader: ImageDownloader;
  readonly #proven = new ProvenFiles();
  readonly #entries = new Map<string, Entry>();
  #opened: Promise<void> | undefined;
  readonly #running = new Map<string, Running>();
  /** Of transfers that failed when nobody waited any more, by key. */
  readonly #failures = new Map<string, unknown>();

  constructor(options: ImageCacheOptions) {
    this.#options = options;
    this.#downloader = new ImageDownloader({
      clock: options.clock,
      caFile: options.caFile,
      ...(options.silence === undefined ? {} : { silence: options.silence }),
    });
  }

  /** Makes the directory and removes what an earlier process left half done. Done by the first fetch, if not before. @throws Fault storage */
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
    for (const [key, entry] of await readEntries(directory)) this.#entries.set(key, entry);
  }

  /**
   * The image as a local file. It has the checksum that is given.
   * @throws Fault invalid (names the field), unreachable, storage, cancelled
   */
  async fetch(image: ImageReference, options: FetchOptions): Promise<HeldImage> {
    throwIfAborted(options.signal);
    const location = locateImage(image.source);
    if (location.kind === "file") return await this.#fromFile(location.path, image.checksum, options);
    await this.open();
    throwIfAborted(options.signal);
    const key = cacheKey(location.url, image.checksum);
    const present = this.#entries.get(key);
    if (present !== undefined && image.checksum !== undefined) return await this.#hold(present);
    const failure = this.#failures.get(key);
    this.#failures.delete(key);
    if (failure !== undefined && options.early === "continue") throw failure;
    const running = this.#running.get(key) ?? this.#start(key, location.url, image.checksum);
    if (options.early === undefined) return await this.#hold(await this.#join(key, running, options, running.promise));
    const first = await this.#join(key, running, options, Promise.race([running.promise, running.arriving]));
    if ("name" in first) return await this.#hold(first);
    running.kept = true;
    return { ...first, [Symbol.dispose]: () => {} };
  }

  async #hold(entry: Entry): Promise<HeldImage> {
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

  async #fromFile(path: string, checksum: ImageChecksum | undefined, options: FetchOptions): Promise<HeldImage> {
    const real = await allowedFile(path, this.#options.fileDirectories);
    if (checksum !== undefined) {
      const { signal, onProgress } = options;
      await this.#proven.prove(real, checksum, {
        signal,
        onProgress: ({ bytes, total }) => onProgress?.(bytes, total),
      });
    }
    return { path: real, bytes: (await stat(real)).size, [Symbol.dispose]: () => {} };
  }

  /** Waits for a transfer; the last one who goes away ends it. */
  async #join<T>(key: string, running: Running, options: FetchOptions, awaited: Promise<T>): Promise<T> {
    running.watchers.add(options);
    const leave = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => {
        running.watchers.delete(options);
        if (running.watchers.size === 0 && !running.kept) {
          this.#forget(key, running.promise);
          running.controller.abort(options.signal.reason);
        }
        try {
          throwIfAborted(options.signal);
        } catch (fault) {
          reject(fault as Error);
        }
      };
      options.signal.addEventListener("abort", onAbort, { once: true });
      const arrived = (): void => {
        options.signal.removeEventListener("abort", onAbort);
        running.watchers.delete(options);
      };
      awaited.then(arrived, arrived);
    });
    return await Promise.race([awaited, leave]);
  }

  #start(key: string, url: URL, checksum: ImageChecksum | undefined): Running {
    const controller = new AbortController();
    const watchers = new Set<FetchOptions>();
    let begun: (arriving: Arriving) => void = () => {};
    const arriving = new Promise<Arriving>((resolve) => (begun = resolve));
    const promise = this.#transfer({ key, url, checksum, signal: controller.signal, watchers, begun });
    const running: Running = { promise, arriving, kept: false, controller, watchers };
    promise.then(
      () => this.#forget(key, promise),
      (error: unknown) => {
        this.#forget(key, promise);
        // All may have left, so nobody else may look at it.
        if (running.kept && watchers.size === 0) this.#failures.set(key, error);
      },
    );
    this.#running.set(key, running);
    return running;
  }

  #forget(key: string, promise: Promise<Entry>): void {
    if (this.#running.get(key)?.promise === promise) this.#running.delete(key);
  }

  async #transfer({ key, url, checksum, signal, watchers, begun }: Transfer): Promise<Entry> {
    const started = this.#options.clock.now();
    const present = this.#entries.get(key);
    if (present !== undefined) present.pins += 1; // making room must not take what may turn out unchanged
    const name = `${key}.${this.#options.random.uuid()}`;
    const draft = this.#path(name, "part");
    try {
      const outcome = await this.#downloader.fetch({
        url,
        path: draft,
        checksum,
        known: present?.validators,
        signal,
        log: this.#options.log,
        onProgress: (bytes, total, download) => {
          if (total > 0 && bytes >= Math.min(total, ENOUGH)) begun({ path: draft, bytes: total, download });
          for (const watcher of watchers) watcher.onProgress?.(bytes, total);
        },
        makeRoom: (bytes) => this.#evict(bytes, this.#options.maximumBytes),
        freeSpace: async (bytes) => await this.#freeSpace(bytes),
      });
      if (outcome.kind === "unchanged" && present !== undefined) return present;
      if (outcome.kind === "unchanged") throw toFault(new Error("unchanged without a copy"));
      const entry = await this.#keep(key, name, url, outcome);
      this.#options.log.info("image.cached", {
        source: shownSource({ kind: "http", url }),
        bytes: entry.bytes,
        elapsed_ms: Math.round(this.#options.clock.now() - started),
      });
      this.#evict(0, this.#options.maximumBytes);
      return entry;
    } catch (error) {
      throwIfAborted(signal);
      throw storageFault(error);
    } finally {
      if (present !== undefined) this.#unpin(present);
      await rm(draft, { force: true });
    }
  }

  /** First what is told about the image, then the image under its name, then the directory: a name means a whole image. */
  async #keep(key: string, name: string, url: URL, outcome: Extract<Downloaded, { kind: "new" }>): Promise<Entry> {
    const notes = this.#path(name, "json");
    await writeFile(
      `${notes}.part`,
      JSON.stringify({ source: shownSource({ kind: "http", url }), ...outcome.validators }),
      { mode: 0o600, flush: true },
    );
    await rename(`${notes}.part`, notes);
    await rename(this.#path(name, "part"), this.#path(name, "img"));
    const directory = await open(this.#options.directory, "r");
    await directory.sync();
    await directory.close();
    const entry: Entry = {
      name,
      retired: false,
      ...(await sizes(this.#path(name, "img"))),
      validators: outcome.validators,
      usedAt: this.#now(),
      pins: 0,
    };
    const old = this.#entries.get(key);
    this.#entries.set(key, entry);
    if (old !== undefined) this.#retire(old);
    return entry;
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

  /** Removes what was not used for longest until all but `bytes` of `most` are taken; what is in use stays. */
  #evict(bytes: number, most: number): void {
    let sum = [...this.#entries.values()].reduce((total, entry) => total + entry.allocated, 0);
    for (const [key, entry] of [...this.#entries].sort(([, a], [, b]) => a.usedAt - b.usedAt)) {
      if (sum + bytes <= most) return;
      if (entry.pins > 0) continue;
      this.#entries.delete(key);
      this.#retire(entry);
      sum -= entry.allocated;
    }
  }

  /** The disk is full, whatever the cache may hold: gives up as little as helps. Whether that was anything. */
  async #freeSpace(bytes: number): Promise<boolean> {
    const { bavail, bsize } = await statfs(this.#options.directory);
    const before = this.#entries.size;
    const sum = [...this.#entries.values()].reduce((total, entry) => total + entry.allocated, 0);
    const missing = Number.isNaN(bytes) ? sum : bytes - bavail * bsize;
    this.#evict(0, Math.max(0, sum - missing));
    return this.#entries.size < before;
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

  #path(name: string, ending: "img" | "json" | "part"): string {
    return join(this.#options.directory, `${name}.${ending}`);
  }

  /** Ends all transfers. */
  async [Symbol.asyncDispose](): Promise<void> {
    const running = [...this.#running.values()];
    for (const { controller } of running) controller.abort();
    await Promise.allSettled(running.map(({ promise }) => promise));
  }
}

async function sizes(path: string): Promise<Pick<Entry, "bytes" | "allocated">> {
  const { size, blocks } = await stat(path);
  return { bytes: size, allocated: blocks * 512 };
}

function cacheKey(url: URL, checksum: ImageChecksum | undefined): string {
  return checksum === undefined ? `url-${sha256(url.href)}` : `${checksum.algorithm}-${checksum.value}`;
}

async function readEntries(directory: string): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (name.endsWith(".part")) await rm(path, { force: true });
    if (!name.endsWith(".img")) continue;
    const stem = name.slice(0, -".img".length);
    const key = stem.slice(0, stem.lastIndexOf("."));
    const notes = join(directory, `${stem}.json`);
    const validators = await readValidators(notes);
    const usedAt = await stat(notes).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    );
    const entry: Entry = { name: stem, retired: false, ...(await sizes(path)), validators, usedAt, pins: 0 };
    const other = entries.get(key);
    if (other === undefined || other.usedAt < entry.usedAt) entries.set(key, entry);
    const surplus = other === undefined ? undefined : entries.get(key) === entry ? other : entry;
    if (surplus === undefined) continue;
    for (const ending of ["img", "json"]) await rm(join(directory, `${surplus.name}.${ending}`), { force: true });
  }
  return entries;
}

async function readValidators(path: string): Promise<Validators | undefined> {
  try {
    const { etag, lastModified } = JSON.parse(await readFile(path, "utf8")) as Partial<Validators>;
    return {
      etag: typeof etag === "string" ? etag : null,
      lastModified: typeof lastModified === "string" ? lastModified : null,
    };
  } catch {
    return undefined; // then it is fetched anew
  }
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
