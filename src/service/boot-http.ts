import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { throwIfAborted } from "../core/clock.ts";
import { Fault, toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import { seconds } from "../core/units.ts";
import { goneSignal } from "../net/gone-signal.ts";
import { ipv4Of } from "../net/peer-address.ts";
import { type BootContentOptions, BootContents } from "./boot-content.ts";
import { type BootEndpoint, BootListener, type ServerIdentity } from "./boot-listener.ts";
import { withoutBootSecret } from "./boot-secret.ts";
import { ContentSender } from "./content-sender.ts";

export interface BootHttpOptions extends BootContentOptions {
  readonly log: Log;
  /** Where to listen; each becomes a server of its own. */
  readonly listen: readonly BootEndpoint[];
  readonly mostConnections: number;
}

export interface BootHttpCounters {
  readonly requests: number;
  readonly refused: number;
  readonly failed: number;
  readonly running: number;
  readonly bytes: number;
}

/** A client that takes nothing for so long is gone. */
const STALLED = seconds(120);

/** Loaders, scripts, kernel, initrd and ISOs over HTTP, with or without TLS. */
export class BootHttp implements AsyncDisposable {
  readonly #options: BootHttpOptions;
  readonly #listeners: BootListener[] = [];
  readonly #contents: BootContents;
  readonly #sender = new ContentSender(STALLED);
  readonly #counts = { requests: 0, refused: 0, failed: 0, running: 0, bytes: 0 };
  #closing: Promise<void> | undefined;

  constructor(options: BootHttpOptions) {
    this.#options = options;
    this.#contents = new BootContents(options);
  }

  /** @throws Fault conflict when a port is taken */
  async start(): Promise<void> {
    for (const where of this.#options.listen) {
      const listener = new BootListener(where, { connections: this.#options.mostConnections, stalled: STALLED });
      this.#answerAt(listener.server);
      await listener.listen(where);
      this.#listeners.push(listener);
      this.#options.log.info("http.listening", {
        address: where.address,
        port: String(this.#portOf(listener.server)),
        tls: where.identity !== null,
      });
    }
  }

  #answerAt(server: Server): void {
    // Node sees nothing of what the sender sends, which gives up a client that takes nothing by itself.
    server.on("timeout", (socket) => {
      if (!this.#sender.isSending(socket)) socket.destroy();
    });
    server.on("request", (request, response) => void this.#answer(request, response));
    server.on("clientError", (_error, socket) => {
      this.#counts.refused += 1;
      if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      else socket.destroy();
    });
    server.on("tlsClientError", (error: Error, socket: Socket) => {
      this.#counts.refused += 1;
      this.#options.log.warn("http.refused", { peer: ipv4Of(socket.remoteAddress), reason: `TLS: ${error.message}` });
    });
  }

  /** The certificate that TLS shows from the next connection on. */
  renew(identity: ServerIdentity): void {
    for (const listener of this.#listeners) listener.renew(identity);
  }

  /** The ports, in the order of `listen`; of use when 0 was asked for. */
  ports(): readonly number[] {
    return this.#listeners.map(({ server }) => this.#portOf(server));
  }

  #portOf(server: Server): number {
    return (server.address() as AddressInfo).port;
  }

  counters(): BootHttpCounters {
    return { ...this.#counts };
  }

  /** Never throws: this is where a request ends. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#counts.requests += 1;
    this.#counts.running += 1;
    const started = this.#options.clock.now();
    const peer = ipv4Of(request.socket.remoteAddress);
    const fields = {
      peer,
      method: request.method ?? "",
      path: withoutBootSecret((request.url ?? "").slice(0, 200)),
      mac: this.#options.store.leases.byAddress(peer)?.mac ?? undefined,
    };
    const elapsed = (): number => Math.round(this.#options.clock.now() - started);
    try {
      const bytes = await this.#serve(request, response);
      this.#counts.bytes += bytes;
      this.#options.log.info("http.served", { ...fields, status: response.statusCode, bytes, elapsed_ms: elapsed() });
    } catch (error) {
      const fault = toFault(error);
      const status = STATUS[fault.kind] ?? 500;
      if (status === 500) this.#counts.failed += 1;
      else this.#counts.refused += 1;
      if (fault.kind === "internal") this.#options.log.error("daemon.bug", fields, error);
      this.#options.log.warn("http.refused", { ...fields, status, reason: fault.message, elapsed_ms: elapsed() });
      refuse(response, status, fault);
    } finally {
      this.#counts.running -= 1;
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<number> {
    if (request.method !== "GET" && request.method !== "HEAD") {
      throw new Fault("unsupported", "http.method", `${request.method} is not served here; GET and HEAD are`);
    }
    request.resume(); // a body means nothing here
    if (response.socket === null) await turnOf(request, response);
    const path = pathOf(request.url ?? "");
    const content = await this.#contents.find(path, request);
    if (content === null) throw new Fault("not-found", "http.not-found", `${withoutBootSecret(path)} is not here`);
    await using _file = content.file;
    return await this.#sender.send(request, response, content);
  }

  /** Running answers are cut off; their clients ask again. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= Promise.all(
      this.#listeners.map(
        ({ server }) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
          }),
      ),
    ).then(() => this.#sender[Symbol.asyncDispose]());
    return this.#closing;
  }
}

const STATUS: Readonly<Partial<Record<Fault["kind"], number>>> = {
  invalid: 400,
  malformed: 400,
  refused: 403,
  "not-found": 404,
  unsupported: 405,
  cancelled: 499,
  unreachable: 499,
};

/** The path without query, with %XX read once. @throws Fault invalid */
function pathOf(url: string): string {
  const raw = url.replace(/^https?:\/\/[^/]*/i, "").split(/[?#]/, 1)[0] ?? "";
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    throw new Fault("invalid", "http.path", "the path is not well-formed");
  }
  if (!path.startsWith("/") || !/^[\x20-\x7e]*$/.test(path))
    throw new Fault("invalid", "http.path", "the path is not well-formed");
  return path.replaceAll(/\/{2,}/g, "/");
}

/**
 * Waits until the answers before it on the same connection are out: so a client that asks for much at once has one file open. Clients
 * that ask on as soon as the last byte is there come through here too. @throws Fault cancelled
 */
async function turnOf(request: IncomingMessage, response: ServerResponse): Promise<void> {
  using gone = goneSignal(request.socket);
  await once(response, "socket", { signal: gone.signal }).catch(() => throwIfAborted(gone.signal));
}

function refuse(response: ServerResponse, status: number, fault: Fault): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  if (status === 405) response.setHeader("Allow", "GET, HEAD");
  const text = status === 500 ? "internal error\n" : `${fault.message}\n`;
  response.writeHead(status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}
