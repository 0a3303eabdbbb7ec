import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { type Clock, throwIfAborted } from "../core/clock.ts";
import { toFault } from "../core/fault.ts";
import { type JsonObject, numberProperty, stringProperty } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { NativeDownload } from "../core/native-addon.ts";
import type { Millis } from "../core/units.ts";
import type { ArrivingFile } from "./arriving-file.ts";
import { type Begun, type Downloaded, ImageDownloader, type Validators } from "./image-download.ts";
import type { Draft, HeldFile, ImageShelf, ShelvedImage } from "./image-shelf.ts";
import { allowedFile, type ImageChecksum, type ImageReference, locateImage, shownSource } from "./image-source.ts";
import { ProvenFiles } from "./proven-files.ts";
import { SharedWork } from "./shared-work.ts";
import { storageFault } from "./storage-fault.ts";

/** A local file with an image. A cached one stays until it is disposed of. */
export interface HeldImage extends HeldFile {
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
  readonly shelf: ImageShelf;
  /** Where images may be named by path. */
  readonly fileDirectories: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** Silence after which a transfer counts as broken. */
  readonly silence?: Millis;
  /** Authorities of image servers; without it, the system's. */
  readonly caFile?: string | undefined;
}

/** An image of which enough is there to begin with. */
interface Arriving {
  readonly path: string;
  readonly bytes: number;
  readonly file: ArrivingFile;
}

interface Transfer {
  readonly end: Promise<ShelvedImage>;
  readonly arriving: Promise<Arriving>;
}

interface TransferOrder {
  readonly key: string;
  readonly url: URL;
  readonly checksum: ImageChecksum | undefined;
  readonly signal: AbortSignal;
  readonly waiters: ReadonlySet<FetchOptions>;
  /** Called when enough is there to begin with. */
  readonly begun: (arriving: Arriving) => void;
}

/** So much of an image must have come before it is handed out. */
const ENOUGH = 65_536;

/**
 * Brings images to the local disk and checks them. An image with a checksum is kept under it, wherever it came from; one
 * without is kept under its URL and asked after each time. All who want the same image share one transfer. One that the end of the
 * daemon interrupted goes on where it was. Files of the operator's are used where and as they are, once the addon has found their
 * checksum right.
 */
export class ImageCache implements AsyncDisposable {
  readonly #options: ImageCacheOptions;
  readonly #shelf: ImageShelf;
  readonly #downloader: ImageDownloader;
  readonly #proven = new ProvenFiles();
  readonly #transfers = new SharedWork<FetchOptions, Transfer>();
  /** Of transfers that failed when nobody waited any more, by key. */
  readonly #failures = new Map<string, unknown>();

  constructor(options: ImageCacheOptions) {
    this.#options = options;
    this.#shelf = options.shelf;
    this.#downloader = new ImageDownloader({
      clock: options.clock,
      caFile: options.caFile,
      ...(options.silence === undefined ? {} : { silence: options.silence }),
    });
  }

  /**
   * The image as a local file. It has the checksum that is given.
   * @throws Fault invalid (names the field), unreachable, storage, cancelled
   */
  async fetch(image: ImageReference, options: FetchOptions): Promise<HeldImage> {
    throwIfAborted(options.signal);
    const location = locateImage(image.source);
    if (location.kind === "file") return await this.#fromFile(location.path, image.checksum, options);
    await this.#shelf.open();
    throwIfAborted(options.signal);
    const key = cacheKey(location.url, image.checksum);
    const present = this.#shelf.find(key);
    if (present !== undefined && image.checksum !== undefined) return await this.#shelf.hold(present);
    const failure = this.#failures.get(key);
    this.#failures.delete(key);
    if (failure !== undefined && options.early === "continue") throw failure;
    const running = this.#transfers.piece(key, (signal, waiters) => {
      const transfer = this.#start({ key, url: location.url, checksum: image.checksum, signal, waiters });
      transfer.end.catch((error: unknown) => {
        // All may have left, so nobody else may look at it.
        if (running.kept && waiters.size === 0) this.#failures.set(key, error);
      });
      return transfer;
    });
    const { end, arriving } = running.work;
    if (options.early === undefined) return await this.#shelf.hold(await this.#transfers.wait(running, options, end));
    const first = await this.#transfers.wait(running, options, Promise.race([end, arriving]));
    if ("name" in first) return await this.#shelf.hold(first);
    const { path, bytes, file } = first;
    const hold = file.hold();
    // It has come to its end since.
    if (hold === undefined) return await this.#shelf.hold(await this.#transfers.wait(running, options, end));
    running.kept = true;
    return { path, bytes, download: file.download, [Symbol.dispose]: () => hold[Symbol.dispose]() };
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

  #start(order: Omit<TransferOrder, "begun">): Transfer {
    let begun: (arriving: Arriving) => void = () => {};
    const arriving = new Promise<Arriving>((resolve) => (begun = resolve));
    return { end: this.#transfer({ ...order, begun }), arriving };
  }

  async #transfer({ key, url, checksum, signal, waiters, begun }: TransferOrder): Promise<ShelvedImage> {
    const { clock, log } = this.#options;
    const started = clock.now();
    const present = this.#shelf.find(key);
    // Making room must not take what may turn out unchanged.
    using _held = present === undefined ? undefined : await this.#shelf.hold(present);
    const { draft, earlier } = this.#draft(key, url);
    const notes = new DraftNotes(this.#shelf, draft, url);
    try {
      const outcome = await this.#downloader.fetch({
        url,
        path: draft.path,
        begun: earlier,
        checksum,
        known: present === undefined ? undefined : validatorsOf(present.notes),
        signal,
        log,
        onProgress: (bytes, total, file) => {
          if (total > 0 && bytes >= Math.min(total, ENOUGH)) begun({ path: draft.path, bytes: total, file });
          for (const waiter of waiters) waiter.onProgress?.(bytes, total);
        },
        onDurable: (durable) => notes.write(durable),
        makeRoom: (bytes) => this.#shelf.makeRoom(bytes),
        freeSpace: async (bytes) => await this.#shelf.freeSpace(bytes),
      });
      await notes.written();
      if (outcome.kind === "unchanged" && present !== undefined) {
        this.#shelf.discard(draft.name);
        return present;
      }
      if (outcome.kind === "unchanged") throw toFault(new Error("unchanged without a copy"));
      const image = await this.#shelf.keep(draft, notesOf(url, outcome));
      log.info("image.cached", {
        source: shownSource({ kind: "http", url }),
        bytes: image.bytes,
        ...(earlier === undefined ? {} : { resumed: earlier.bytes }),
        elapsed_ms: Math.round(clock.now() - started),
      });
      return image;
    } catch (error) {
      await notes.written();
      // The next process, or the next who asks, may go on with it.
      if (signal.aborted || toFault(error).retry !== "never") await this.#shelf.leave(draft);
      else this.#shelf.discard(draft.name);
      throwIfAborted(signal);
      throw storageFault(error);
    }
  }

  /** A new draft, or one that a transfer from the same URL left. */
  #draft(key: string, url: URL): { readonly draft: Draft; readonly earlier: Begun | undefined } {
    const left = this.#shelf.takeDraft(key);
    const earlier = left === undefined ? undefined : begunOf(left.notes, url);
    if (left !== undefined && earlier !== undefined) return { draft: left, earlier };
    if (left !== undefined) this.#shelf.discard(left.name);
    return { draft: this.#shelf.newDraft(key), earlier: undefined };
  }

  /** Ends all transfers; the next process can go on with them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transfers[Symbol.asyncDispose]();
  }
}

/** Writes how far a draft is, one note after the other; of those that wait, the newest. */
class DraftNotes {
  readonly #shelf: ImageShelf;
  readonly #draft: Draft;
  readonly #url: string;
  #next: Begun | undefined;
  #writing: Promise<void> | undefined;

  constructor(shelf: ImageShelf, draft: Draft, url: URL) {
    this.#shelf = shelf;
    this.#draft = draft;
    this.#url = sha256(url.href);
  }

  write(begun: Begun): void {
    this.#next = begun;
    // Without notes the transfer begins anew some day: no reason to fail now.
    this.#writing ??= this.#run().catch(() => undefined);
  }

  /** Nothing is being written any more. */
  async written(): Promise<void> {
    await this.#writing;
  }

  async #run(): Promise<void> {
    try {
      for (let begun = this.#next; begun !== undefined; begun = this.#next) {
        this.#next = undefined;
        const { bytes, total, etag, lastModified } = begun;
        await this.#shelf.note(this.#draft, { url: this.#url, bytes, total, etag, lastModified });
      }
    } finally {
      this.#writing = undefined;
    }
  }
}

function notesOf(url: URL, { validators }: Extract<Downloaded, { kind: "new" }>): JsonObject {
  return { source: shownSource({ kind: "http", url }), ...validators };
}

function validatorsOf(notes: JsonObject): Validators {
  return { etag: stringProperty(notes, "etag") ?? null, lastModified: stringProperty(notes, "lastModified") ?? null };
}

/** What a draft's notes say, if they are of this URL and can be true. */
function begunOf(notes: JsonObject, url: URL): Begun | undefined {
  const bytes = numberProperty(notes, "bytes");
  const total = numberProperty(notes, "total");
  if (stringProperty(notes, "url") !== sha256(url.href) || bytes === undefined || total === undefined) return undefined;
  if (!Number.isSafeInteger(bytes) || !Number.isSafeInteger(total) || bytes <= 0 || bytes > total) return undefined;
  return { bytes, total, ...validatorsOf(notes) };
}

function cacheKey(url: URL, checksum: ImageChecksum | undefined): string {
  return checksum === undefined ? `url-${sha256(url.href)}` : `${checksum.algorithm}-${checksum.value}`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
