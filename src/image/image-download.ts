import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { Agent, type Dispatcher, interceptors } from "undici";
import { type Clock, throwIfAborted } from "../core/clock.ts";
import { Fault, isFault, toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import { millis, type Millis } from "../core/units.ts";
import { type ImageChecksum, checksumFault, shownSource } from "./image-source.ts";

const ATTEMPTS = 6;
const FIRST_PAUSE = 1000;
const REDIRECTS = 5;

/** What tells one state of a resource from another. @source RFC 9110 §8.8 */
export interface Validators {
  readonly etag: string | null;
  readonly lastModified: string | null;
}

export interface Download {
  readonly url: URL;
  /** The file that is written, from nothing. */
  readonly path: string;
  readonly checksum: ImageChecksum | undefined;
  /** Those of the copy that is there already; an unchanged resource is not sent again. */
  readonly known: Validators | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
  onProgress(bytes: number, total: number): void;
  /** Called once the size is known, before anything is written. */
  makeRoom(bytes: number): void;
}

export type Downloaded =
  | { readonly kind: "unchanged" }
  | { readonly kind: "new"; readonly bytes: number; readonly validators: Validators };

/**
 * Fetches over HTTP. A transfer that breaks is resumed where it stopped (RFC 9110 §14.2), if the resource is still the same;
 * the file is on disk and its checksum right when the promise resolves.
 */
export class ImageDownloader implements AsyncDisposable {
  readonly #agent: Agent;
  readonly #dispatcher: Dispatcher;
  readonly #clock: Clock;

  constructor(parts: { readonly clock: Clock; readonly silence?: Millis }) {
    const silence = parts.silence ?? millis(60_000);
    this.#clock = parts.clock;
    this.#agent = new Agent({
      connections: 4,
      connect: { timeout: 10_000 },
      headersTimeout: silence,
      bodyTimeout: silence,
    });
    this.#dispatcher = this.#agent.compose(interceptors.redirect({ maxRedirections: REDIRECTS }));
  }

  /** @throws Fault invalid (not there, checksum), unreachable, storage, cancelled */
  async fetch(download: Download): Promise<Downloaded> {
    const file = await openFile(download.path);
    try {
      const transfer = new Transfer(file, download.checksum);
      for (let attempt = 1; ; attempt += 1) {
        const before = transfer.received;
        try {
          const outcome = await this.#attempt(download, transfer);
          if (outcome === "unchanged") return { kind: "unchanged" };
          break;
        } catch (error) {
          throwIfAborted(download.signal);
          const fault = transferFault(download.url, error);
          if (transfer.received > before) attempt = 1; // it moves on
          if (fault.retry === "never" || attempt >= ATTEMPTS) throw fault;
          download.log.warn("image.retry", {
            source: shownUrl(download.url),
            reason: fault.message,
            attempt,
            bytes: transfer.received,
          });
          await this.#clock.sleep(millis(FIRST_PAUSE * 2 ** (attempt - 1)), download.signal);
        }
      }
      await file.sync();
      transfer.check(shownUrl(download.url));
      return { kind: "new", bytes: transfer.received, validators: transfer.validators };
    } catch (error) {
      throw storageFault(error);
    } finally {
      await file.close();
    }
  }

  async #attempt(download: Download, transfer: Transfer): Promise<"unchanged" | "whole"> {
    const { url, signal } = download;
    const answer = await this.#dispatcher.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: "GET",
      headers: { "accept-encoding": "identity", ...authorization(url), ...transfer.conditions(download.known) },
      signal,
    });
    const { statusCode, headers, body } = answer;
    if (statusCode === 304 && download.known !== undefined) {
      await body.dump();
      return "unchanged";
    }
    if (statusCode !== 200 && statusCode !== 206) {
      await body.dump();
      if (statusCode === 416 && transfer.received > 0) {
        transfer.received = 0;
        throw new Fault("protocol", "image.range", `${shownUrl(url)} has no bytes after those that came`, {
          retry: "now",
        });
      }
      throw statusFault(url, statusCode);
    }
    const length = Number(one(headers, "content-length") ?? Number.NaN);
    const validators: Validators = {
      etag: one(headers, "etag") ?? null,
      lastModified: one(headers, "last-modified") ?? null,
    };
    const start = statusCode === 206 ? rangeStart(one(headers, "content-range")) : 0;
    await transfer.begin(start, Number.isNaN(length) ? undefined : start + length, validators, download);
    for await (const chunk of body as AsyncIterable<Buffer>) {
      await transfer.write(chunk);
      download.onProgress(transfer.received, transfer.total ?? 0);
    }
    transfer.expectWhole();
    return "whole";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

/** What arrived so far, over several attempts. */
class Transfer {
  readonly #file: FileHandle;
  readonly #checksum: ImageChecksum | undefined;
  #hash: Hash | undefined;
  received = 0;
  total: number | undefined;
  validators: Validators = { etag: null, lastModified: null };

  constructor(file: FileHandle, checksum: ImageChecksum | undefined) {
    this.#file = file;
    this.#checksum = checksum;
  }

  /** Without a validator a rest cannot be told from the rest of something else: then all is asked for again. */
  conditions(known: Validators | undefined): Record<string, string> {
    if (this.received > 0) {
      const validator = strong(this.validators.etag) ?? this.validators.lastModified;
      return validator === null ? {} : { range: `bytes=${this.received}-`, "if-range": validator };
    }
    return {
      ...(known?.etag == null ? {} : { "if-none-match": known.etag }),
      ...(known?.lastModified == null ? {} : { "if-modified-since": known.lastModified }),
    };
  }

  async begin(start: number, total: number | undefined, validators: Validators, download: Download): Promise<void> {
    if (start !== 0 && start !== this.received) {
      throw new Fault("protocol", "image.range", `asked for the bytes from ${this.received}, got those from ${start}`, {
        retry: "now",
      });
    }
    if (start === 0) {
      this.received = 0;
      this.#hash = this.#checksum === undefined ? undefined : createHash(this.#checksum.algorithm);
      await this.#file.truncate(0);
      if (total !== undefined) {
        download.makeRoom(total);
        await expectSpace(download.path, total);
      }
    }
    this.total = total;
    this.validators = validators;
  }

  async write(chunk: Buffer): Promise<void> {
    this.#hash?.update(chunk);
    let at = 0;
    while (at < chunk.length) {
      const { bytesWritten } = await this.#file.write(chunk, at, chunk.length - at, this.received);
      at += bytesWritten;
      this.received += bytesWritten;
    }
  }

  expectWhole(): void {
    if (this.total !== undefined && this.received !== this.total) {
      throw new Fault(
        "unreachable",
        "image.short",
        `the connection ended after ${this.received} of ${this.total} bytes`,
      );
    }
  }

  check(source: string): void {
    if (this.#checksum === undefined || this.#hash === undefined) return;
    const found = this.#hash.digest("hex");
    if (found !== this.#checksum.value) throw checksumFault(source, this.#checksum, found);
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "wx", 0o600);
  } catch (error) {
    throw storageFault(error);
  }
}

async function expectSpace(path: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path));
  if (bavail * bsize >= bytes) return;
  throw new Fault(
    "storage",
    "image.space",
    `the image has ${bytes} bytes and its directory room for ${bavail * bsize}; free some, or make image.cache_size smaller`,
  );
}

function one(headers: Readonly<Record<string, string | string[] | undefined>>, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** A weak validator does not hold for a range. @source RFC 9110 §13.1.5 */
function strong(etag: string | null): string | null {
  return etag?.startsWith("W/") === true ? null : etag;
}

/** @source RFC 9110 §14.4 */
function rangeStart(contentRange: string | undefined): number {
  const match = /^bytes ([0-9]+)-[0-9]+\//.exec(contentRange ?? "");
  if (match === null)
    throw new Fault("protocol", "image.range", "the server sent a part without saying which", { retry: "now" });
  return Number(match[1]);
}

function authorization(url: URL): Record<string, string> {
  if (url.username === "") return {};
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return { authorization: `Basic ${Buffer.from(credentials).toString("base64")}` };
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

function transferFault(url: URL, error: unknown): Fault {
  if (isFault(error)) return error;
  const fault = storageFault(error);
  if (isFault(fault) && fault.kind === "storage") return fault;
  const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
  const message = error instanceof Error ? error.message : String(error);
  if (code.includes("UND_ERR_INVALID_ARG")) {
    // undici's word for a redirection in a circle or to no HTTP server
    return new Fault("invalid", "image.redirect", `instance_info.image_source: ${shownUrl(url)} redirects to nowhere`, {
      detail: { field: "instance_info.image_source" },
      cause: error,
    });
  }
  return new Fault("unreachable", "image.unreachable", `${shownUrl(url)}: ${message}${code}`, { cause: error });
}

const DISK_ERRORS = new Set(["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "ENOENT", "EFBIG", "EEXIST"]);

/** A failure of our own disk as a storage fault; everything else as it is. */
export function storageFault(error: unknown): unknown {
  if (isFault(error) || !(error instanceof Error) || !("syscall" in error) || !("code" in error)) return error;
  if (!DISK_ERRORS.has(String(error.code))) return error;
  return new Fault("storage", "image.storage", `the image cannot be kept: ${toFault(error).message}`, {
    cause: error,
    retry: "never",
  });
}
