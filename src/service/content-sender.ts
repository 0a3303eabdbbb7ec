import type { FileHandle } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { Fault, isFault } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";
import { goneSignal } from "../net/gone-signal.ts";
import { descriptorOf } from "../net/socket-descriptor.ts";
import type { BootContent } from "./boot-content.ts";
import type { BootFile } from "./boot-file.ts";
import { FileSender } from "./file-sender.ts";
import { answerFile } from "./http-range.ts";

const CHUNK = 1024 * 1024;

/** Answers requests with contents: the headers by Node, the bodies of files by the addon where no TLS is between. */
export class ContentSender implements AsyncDisposable {
  readonly #patience: Millis;
  readonly #sender = new FileSender();
  readonly #sending = new Set<Socket>();

  /** A client that takes nothing for `patience` is given up. */
  constructor(patience: Millis) {
    this.#patience = patience;
  }

  /** Whether the addon sends on it, of which Node sees nothing. */
  isSending(socket: Socket): boolean {
    return this.#sending.has(socket);
  }

  /** How many bytes of the body went out. @throws Fault cancelled (the client), storage */
  async send(request: IncomingMessage, response: ServerResponse, content: BootContent): Promise<number> {
    const { file, type, rendered } = content;
    const etag = `"${file.version}"`;
    const answer = answerFile(request.headers, { etag, modified: file.modified, size: file.size });
    const headers: Record<string, string | number> = {
      ETag: etag,
      "Accept-Ranges": "bytes",
      "Cache-Control": rendered ? "no-store" : "no-cache",
    };
    if (!rendered) headers["Last-Modified"] = file.modified.toUTCString();
    switch (answer.status) {
      case 304:
      case 412:
        response.writeHead(answer.status, headers).end();
        return 0;
      case 416:
        headers["Content-Range"] = `bytes */${file.size}`;
        response.writeHead(answer.status, headers).end();
        return 0;
      case 200:
      case 206: {
        const first = answer.status === 206 ? answer.first : 0;
        const last = answer.status === 206 ? answer.last : file.size - 1;
        const length = last - first + 1;
        if (answer.status === 206) headers["Content-Range"] = `bytes ${first}-${last}/${file.size}`;
        headers["Content-Type"] = type;
        headers["Content-Length"] = length;
        response.writeHead(answer.status, headers);
        if (request.method === "HEAD" || length === 0) {
          response.end();
          return 0;
        }
        await this.#sendBody(request.socket, response, file, first, length);
        return length;
      }
    }
  }

  async #sendBody(
    socket: Socket,
    response: ServerResponse,
    file: BootFile,
    first: number,
    length: number,
  ): Promise<void> {
    if (file.handle === null) {
      response.end(await file.read(first, length));
      return;
    }
    response.flushHeaders();
    using gone = goneSignal(socket);
    if (socket.writableLength > 0) await new Promise((resolve) => socket.write("", resolve));
    const descriptor = descriptorOf(socket);
    if (descriptor === null) {
      await streamBody(response, file.handle, first, length);
      return;
    }
    const part = { socket: descriptor, file: file.handle, offset: first, length, patience: this.#patience };
    this.#sending.add(socket);
    try {
      await this.#sender.send(part, gone);
    } finally {
      this.#sending.delete(socket);
    }
    response.end();
  }

  /** Answers that run are cut off. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#sender[Symbol.asyncDispose]();
  }
}

async function streamBody(response: ServerResponse, file: FileHandle, first: number, length: number): Promise<void> {
  const source = file.createReadStream({
    start: first,
    end: first + length - 1,
    highWaterMark: CHUNK,
    autoClose: false,
  });
  try {
    await pipeline(source, response);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ERR_STREAM_PREMATURE_CLOSE" || code === "ECONNRESET" || code === "EPIPE") {
      throw new Fault("cancelled", "http.aborted", "the client went away", { cause: error });
    }
    throw isFault(error)
      ? error
      : new Fault("storage", "file.unreadable", `the file cannot be read: ${(error as Error).message}`, {
          cause: error,
        });
  }
}
