import { type Clock, throwIfAborted } from "../core/clock.ts";
import { Fault, isFault, toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import { type NativeDownload, nativeAddon, nativeFault } from "../core/native-addon.ts";
import { millis, type Millis } from "../core/units.ts";
import { ArrivingFile } from "./arriving-file.ts";
import { type ImageChecksum, checksumFault, shownSource } from "./image-source.ts";
import { runJob } from "./native-job.ts";

const ATTEMPTS = 6;
const FIRST_PAUSE = 1000;

/** What tells one state of a resource from another. @source RFC 9110 §8.8 */
export interface Validators {
  readonly etag: string | null;
  readonly lastModified: string | null;
}

/** A transfer that another process can go on with: the first `bytes` of `total` are on the disk. */
export interface Begun extends Validators {
  readonly bytes: number;
  readonly total: number;
}

export interface Download {
  readonly url: URL;
  /** The file that is written: from nothing, or on from `begun`. */
  readonly path: string;
  /** What an earlier process brought to the disk. */
  readonly begun: Begun | undefined;
  readonly checksum: ImageChecksum | undefined;
  /** Those of the copy that is there already; an unchanged resource is not sent again. */
  readonly known: Validators | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** `file` can be streamed from while it arrives, if the server told its size. */
  onProgress(bytes: number, total: number, file: ArrivingFile): void;
  /** More than before is on the disk for good, and another process can go on from there. */
  onDurable(begun: Begun): void;
  /** Called once the size is known. */
  makeRoom(bytes: number): void;
  /** The disk is full. Whether something could be given up for `bytes`. */
  freeSpace(bytes: number): Promise<boolean>;
}

export type Downloaded =
  | { readonly kind: "unchanged" }
  | { readonly kind: "new"; readonly bytes: number; readonly validators: Validators };

/** How one attempt went, as far as it went. */
interface AttemptNews extends Begun {
  /** Of `bytes`: those that a loss of power leaves. */
  readonly durable: number;
}

interface AttemptEnd extends Validators {
  readonly status: number;
  readonly bytes: number;
  readonly digest: string;
}

/**
 * Fetches over HTTP, in the addon: no byte of the image comes here. A transfer that breaks is resumed where it stopped (RFC
 * 9110 §14.2), if the resource is still the same; the file is on disk and its checksum right when the promise resolves.
 */
export class ImageDownloader {
  readonly #clock: Clock;
  readonly #silence: Millis;
  readonly #caFile: string | undefined;

  constructor(parts: { readonly clock: Clock; readonly silence?: Millis; readonly caFile?: string | undefined }) {
    this.#clock = parts.clock;
    this.#silence = parts.silence ?? millis(60_000);
    this.#caFile = parts.caFile;
  }

  /** @throws Fault invalid (not there, checksum), refused (TLS), unreachable, timeout, storage, cancelled */
  async fetch(download: Download): Promise<Downloaded> {
    throwIfAborted(download.signal);
    const { path, checksum, begun } = download;
    const opened = nativeAddon().openDownload({
      path,
      checksum,
      begun: begun === undefined ? undefined : { bytes: begun.bytes, total: begun.total },
    });
    if ("fault" in opened) throw nativeFault(opened.fault);
    const file = new ArrivingFile(opened.download);
    try {
      const end = await this.#attempts(download, file);
      if (end === "unchanged") return { kind: "unchanged" };
      if (checksum !== undefined && end.digest !== checksum.value)
        throw checksumFault(shownUrl(download.url), checksum, end.digest);
      return { kind: "new", bytes: end.bytes, validators: { etag: end.etag, lastModified: end.lastModified } };
    } catch (error) {
      nativeAddon().abandonDownload(file.download, toFault(error).message);
      throw error;
    } finally {
      file.end();
    }
  }

  /** Tries until the image is there, or there is no hope. */
  async #attempts(download: Download, file: ArrivingFile): Promise<AttemptEnd | "unchanged"> {
    const { url, signal, log, begun } = download;
    let came: Begun | undefined = begun;
    let durable = begun?.bytes ?? 0;
    if (begun !== undefined) download.makeRoom(begun.total);
    for (let attempt = 1; ; attempt += 1) {
      const before = came?.bytes ?? 0;
      try {
        const end = await this.#attempt(download, file.download, came, (news) => {
          if (came?.total !== news.total) download.makeRoom(news.total);
          came = news;
          if (news.durable !== durable && news.total > 0 && validatorOf(news) !== null) {
            durable = news.durable;
            download.onDurable({ ...news, bytes: durable });
          }
          download.onProgress(news.bytes, news.total, file);
        });
        if (end.status === 304 && download.known !== undefined) return "unchanged";
        if (end.status === 200 || end.status === 206) return end;
        if (end.status === 416 && before > 0) {
          throw new Fault("protocol", "image.range", `${shownUrl(url)} has no bytes after those that came`, {
            retry: "now",
          });
        }
        throw statusFault(url, end.status);
      } catch (error) {
        throwIfAborted(signal);
        if (!isFault(error)) throw error;
        if (error.code === "image.range") came = undefined;
        const needed = Number(error.detail["bytes"] ?? Number.NaN);
        if (error.code === "image.space" && attempt < ATTEMPTS && (await download.freeSpace(needed))) continue;
        if ((came?.bytes ?? 0) > before) attempt = 1; // it moves on
        if (error.retry === "never" || attempt >= ATTEMPTS) throw named(url, error);
        log.warn("image.retry", {
          source: shownUrl(url),
          reason: error.message,
          attempt,
          bytes: came?.bytes ?? 0,
        });
        await this.#clock.sleep(millis(FIRST_PAUSE * 2 ** (attempt - 1)), signal);
      }
    }
  }

  async #attempt(
    download: Download,
    file: NativeDownload,
    came: Begun | undefined,
    onProgress: (news: AttemptNews) => void,
  ): Promise<AttemptEnd> {
    const { url, signal } = download;
    const bare = new URL(url);
    bare.username = "";
    bare.password = "";
    const request = {
      download: file,
      url: bare.href,
      username: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
      headers: conditions(came, download.known).map(([name, value]) => `${name}: ${value}`),
      caFile: this.#caFile,
      silenceMs: this.#silence,
    };
    return await runJob<AttemptNews, AttemptEnd>(
      (onNews, onEnd) => nativeAddon().startDownload(request, onNews, onEnd),
      { signal, onProgress },
    );
  }
}

/** Without a validator a rest cannot be told from the rest of something else: then all is asked for again. */
function conditions(came: Begun | undefined, known: Validators | undefined): readonly [string, string][] {
  const headers: [string, string][] = [["accept-encoding", "identity"]];
  if (came !== undefined && came.bytes > 0) {
    const validator = validatorOf(came);
    if (validator !== null) headers.push(["range", `bytes=${came.bytes}-`], ["if-range", validator]);
    return headers;
  }
  if (known?.etag != null) headers.push(["if-none-match", known.etag]);
  if (known?.lastModified != null) headers.push(["if-modified-since", known.lastModified]);
  return headers;
}

/** What a range can be asked for with; a weak validator does not hold for one. @source RFC 9110 §13.1.5 */
function validatorOf({ etag, lastModified }: Validators): string | null {
  return etag === null || etag.startsWith("W/") ? lastModified : etag;
}

function shownUrl(url: URL): string {
  return shownSource({ kind: "http", url });
}

function statusFault(url: URL, status: number): Fault {
  const passing = status >= 500 || status === 408 || status === 425 || status === 429;
  const detail = { field: "instance_info.image_source", status };
  if (passing)
    return new Fault("unreachable", `image.http-${status}`, `${shownUrl(url)} answered ${status}`, { detail });
  return new Fault(
    "invalid",
    `image.http-${status}`,
    `instance_info.image_source: ${shownUrl(url)} answered ${status}`,
    { detail },
  );
}

/** With the image that the trouble is about; the addon knows only of a connection. */
function named(url: URL, fault: Fault): Fault {
  if (fault.message.includes(shownUrl(url)) || fault.kind === "storage") return fault;
  const field = fault.kind === "invalid" ? { field: "instance_info.image_source" } : {};
  return new Fault(fault.kind, fault.code, `${shownUrl(url)}: ${fault.message}`, {
    retry: fault.retry,
    detail: { ...fault.detail, ...field },
    cause: fault,
  });
}
