import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { type Clock, throwIfAborted } from "../core/clock.ts";
import { stringProperty } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import { type ConvertedFormat, type ImageFormat, isStreamed, type StreamedFormat } from "../domain/image-format.ts";
import type { FetchOptions, HeldImage, ImageCache } from "./cache.ts";
import { convertImage } from "./image-conversion.ts";
import type { ImageShelf, ShelvedImage } from "./image-shelf.ts";
import { allowedFile, type ImageChecksum, type ImageReference, locateImage, shownSource } from "./image-source.ts";
import { QEMU_IMG } from "./qemu-img.ts";
import { SharedWork } from "./shared-work.ts";
import { storageFault } from "./storage-fault.ts";

/** An image as an operator names it, and what it is said to be. */
export interface FormattedImage extends ImageReference {
  readonly format: ImageFormat;
}

/** A local file that can be streamed to a disk as it is: what was asked for, or what that was converted to. */
export interface DeployableImage extends HeldImage {
  readonly format: StreamedFormat;
  /** Of this file. */
  readonly checksum: ImageChecksum | undefined;
}

export interface DeployableImagesOptions {
  readonly cache: ImageCache;
  readonly shelf: ImageShelf;
  readonly fileDirectories: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly qemuImg?: string;
}

interface ConversionWork {
  readonly end: Promise<ShelvedImage>;
}

/**
 * Images as files that can be streamed. vmdk, vhdx and vdi images are converted once and kept on the shelf, under the checksum of the
 * original, or without one under what tells its file from others; their own checksum goes with them. One conversion at a time.
 */
export class DeployableImages implements AsyncDisposable {
  readonly #options: DeployableImagesOptions;
  readonly #conversions = new SharedWork<FetchOptions, ConversionWork>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: DeployableImagesOptions) {
    this.#options = options;
  }

  /** @throws Fault of the cache, and of convertImage() */
  async fetch(image: FormattedImage, options: FetchOptions): Promise<DeployableImage> {
    const { format } = image;
    if (isStreamed(format)) {
      const held = await this.#options.cache.fetch(image, options);
      return { ...held, format, checksum: image.checksum, [Symbol.dispose]: () => held[Symbol.dispose]() };
    }
    const location = locateImage(image.source);
    // Whether it may be named is asked each time, also when the image is known.
    if (location.kind === "file") await allowedFile(location.path, this.#options.fileDirectories);
    await this.#options.shelf.open();
    const key = image.checksum === undefined ? undefined : keyOf(format, contentIdentity(image.checksum));
    const present = key === undefined ? undefined : this.#options.shelf.find(key);
    if (present !== undefined) return await this.#hold(present);
    const piece = this.#conversions.piece(`${format} ${key ?? image.source}`, (signal, waiters) => ({
      end: this.#convert({ ...image, format }, signal, waiters),
    }));
    return await this.#hold(await this.#conversions.wait(piece, options, piece.work.end));
  }

  async #hold(image: ShelvedImage): Promise<DeployableImage> {
    const held = await this.#options.shelf.hold(image);
    const digest = stringProperty(image.notes, "digest");
    return {
      ...held,
      format: "qcow2",
      checksum: digest === undefined ? undefined : { algorithm: "sha256", value: digest },
      [Symbol.dispose]: () => held[Symbol.dispose](),
    };
  }

  async #convert(
    image: FormattedImage & { readonly format: ConvertedFormat },
    signal: AbortSignal,
    waiters: ReadonlySet<FetchOptions>,
  ): Promise<ShelvedImage> {
    const { cache, shelf, clock, log } = this.#options;
    const onProgress = (bytes: number, total: number): void => {
      for (const waiter of waiters) waiter.onProgress?.(bytes, total);
    };
    using original = await cache.fetch(image, { signal, log, onProgress });
    const identity = image.checksum === undefined ? await fileIdentity(original.path) : contentIdentity(image.checksum);
    const key = keyOf(image.format, identity);
    const present = shelf.find(key);
    if (present !== undefined) return present;
    return await this.#inTurn(async () => {
      throwIfAborted(signal);
      const started = clock.now();
      const draft = shelf.newDraft(key);
      try {
        const location = locateImage(image.source);
        const notes = await convertImage({
          path: original.path,
          format: image.format,
          draft,
          shelf,
          shelved: location.kind === "http",
          program: this.#options.qemuImg ?? QEMU_IMG,
          signal,
          onProgress,
        });
        const source = shownSource(location);
        const converted = await shelf.keep(draft, { source, ...notes });
        log.info("image.converted", {
          source,
          format: image.format,
          bytes: converted.bytes,
          elapsed_ms: Math.round(clock.now() - started),
        });
        return converted;
      } catch (error) {
        shelf.discard(draft.name);
        throwIfAborted(signal);
        throw storageFault(error);
      }
    });
  }

  /** After those that were asked for before: qemu-img takes a core and the disk. */
  async #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(act);
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  /** Ends all conversions. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#conversions[Symbol.asyncDispose]();
  }
}

function keyOf(format: ConvertedFormat, original: string): string {
  return `${format}-of-${original}`;
}

function contentIdentity({ algorithm, value }: ImageChecksum): string {
  return `${algorithm}-${value}`;
}

/** What tells a file from any other and from what it was before. */
async function fileIdentity(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
  return `file-${createHash("sha256").update([path, dev, ino, size, mtimeNs].join(" ")).digest("hex")}`;
}
