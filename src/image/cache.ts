import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, throwIfAborted } from "../core/clock.ts";
import { toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Bytes, Millis } from "../core/units.ts";
import { type Downloaded, ImageDownloader, storageFault, type Validators } from "./image-download.ts";
import { allowedFile, type ImageChecksum, type ImageReference, locateImage, shownSource } from "./image-source.ts";
import { ProvenFiles } from "./proven-files.ts";

/** A local file with an image. A cached one stays until it is disposed of. */
export interface HeldImage extends Disposable {
  readonly path: string;
  readonly bytes: number;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly log: Log;
  /** `total` is 0 while it is not known. */
  readonly onProgress?: (bytes: number, total: number) => void;
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
}

/** A complete image in the directory: `NAME.img`, and `NAME.json` with where it came from; the latter's mtime is the last use. */
interface Entry {
  /** The key, and after a dot a word that is the image's own: a newer one does not take the file from under a reader. */
  readonly name: string;
  /** No longer in the cache; the file goes with its last reader. */
  retired: boolean;
  readonly bytes: number;
  readonly validators: Validators | undefined;
  usedAt: number;
  pins: number;
}

interface Running {
  readonly promise: Promise<Entry>;
  readonly controller: AbortController;
  readonly watchers: Set<FetchOptions>;
}

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

  constructor(options: ImageCacheOptions) {
    this.#options = options;
    this.#downloader = new ImageDownloader({
      clock: options.clock,
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
    const entry = await this.#fromHttp(location.url, image.checksum, options);
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

  async #fromHttp(url: URL, checksum: ImageChecksum | undefined, options: FetchOptions): Promise<Entry> {
    const key = checksum === undefined ? `url-${sha256(url.href)}` : `${checksum.algorithm}-${checksum.value}`;
    const present = this.#entries.get(key);
    if (present !== undefined && checksum !== undefined) return present;
    const running = this.#running.get(key) ?? this.#start(key, url, checksum);
    return await this.#join(key, running, options);
  }

  /** Waits for a transfer; the last one who goes away ends it. */
  async #join(key: string, running: Running, options: FetchOptions): Promise<Entry> {
    running.watchers.add(options);
    const leave = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => {
        running.watchers.delete(options);
        if (running.watchers.size === 0) {
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
      void running.promise.catch(() => undefined).then(() => options.signal.removeEventListener("abort", onAbort));
    });
    return await Promise.race([running.promise, leave]);
  }

  #start(key: string, url: URL, checksum: ImageChecksum | undefined): Running {
    const controller = new AbortController();
    const watchers = new Set<FetchOptions>();
    const promise = this.#transfer(key, url, checksum, controller.signal, watchers);
    const ended = (): void => this.#forget(key, promise);
    promise.then(ended, ended); // all watchers may have left, so nobody else may look at it
    const running: Running = { promise, controller, watchers };
    this.#running.set(key, running);
    return running;
  }

  #forget(key: string, promise: Promise<Entry>): void {
    if (this.#running.get(key)?.promise === promise) this.#running.delete(key);
  }

  async #transfer(
    key: string,
    url: URL,
    checksum: ImageChecksum | undefined,
    signal: AbortSignal,
    watchers: ReadonlySet<FetchOptions>,
  ): Promise<Entry> {
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
        onProgress: (bytes, total) => {
          for (const watcher of watchers) watcher.onProgress?.(bytes, total);
        },
        makeRoom: (bytes) => this.#evict(bytes),
      });
      if (outcome.kind === "unchanged" && present !== undefined) return present;
      if (outcome.kind === "unchanged") throw toFault(new Error("unchanged without a copy"));
      const entry = await this.#keep(key, name, url, outcome);
      this.#options.log.info("image.cached", {
        source: shownSource({ kind: "http", url }),
        bytes: entry.bytes,
        elapsed_ms: Math.round(this.#options.clock.now() - started),
      });
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
      bytes: outcome.bytes,
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

  /** Removes what was not used for longest until `bytes` more fit; what is in use stays. */
  #evict(bytes: number): void {
    let sum = [...this.#entries.values()].reduce((total, entry) => total + entry.bytes, 0);
    for (const [key, entry] of [...this.#entries].sort(([, a], [, b]) => a.usedAt - b.usedAt)) {
      if (sum + bytes <= this.#options.maximumBytes) return;
      if (entry.pins > 0) continue;
      this.#entries.delete(key);
      this.#retire(entry);
      sum -= entry.bytes;
    }
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
    await this.#downloader[Symbol.asyncDispose]();
  }
}

async function readEntries(directory: string): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (name.endsWith(".part")) await rm(path, { force: true });
    if (!name.endsWith(".img")) continue;
    const stem = name.slice(0, -".img".length);
    const key = stem.slice(0, stem.lastIndexOf("."));
    const { size } = await stat(path);
    const notes = join(directory, `${stem}.json`);
    const validators = await readValidators(notes);
    const usedAt = await stat(notes).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    );
    const entry: Entry = { name: stem, retired: false, bytes: size, validators, usedAt, pins: 0 };
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
