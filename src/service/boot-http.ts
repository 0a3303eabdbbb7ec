import { createHash } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { FileHandle } from "node:fs/promises";
import type { AddressInfo, Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { pipeline } from "node:stream/promises";
import { type Ipv4Address, type MacAddress, parseMacAddress } from "../core/brand.ts";
import { type Clock, throwIfAborted } from "../core/clock.ts";
import { Fault, isFault, toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import { seconds } from "../core/units.ts";
import { type Firmware, systemFirmware } from "../domain/boot-firmware.ts";
import type { BootServices } from "../domain/boot-plan.ts";
import { isBootUrl, networkInstance } from "../domain/network-instance.ts";
import type { LeaseReader } from "../domain/store.ts";
import { descriptorOf } from "../net/socket-descriptor.ts";
import { type BootFile, type BootFiles, memoryFile, openBootFile, openFileIn } from "./boot-files.ts";
import { type BootEndpoint, BootListener, type ServerIdentity } from "./boot-listener.ts";
import { type BootDirectory, type BootSettings, findMachine, planFor, servicesAt } from "./boot-lookup.ts";
import { isSameSecret, withoutBootSecret } from "./boot-secret.ts";
import { entryScriptText } from "./boot-script.ts";
import { bootText } from "./boot-text.ts";
import { FileSender } from "./file-sender.ts";
import { answerFile } from "./http-range.ts";

export interface BootHttpOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: BootDirectory & { readonly leases: Pick<LeaseReader, "byAddress"> };
  readonly boot: BootSettings;
  readonly loaders: BootFiles;
  readonly ramdisk: { readonly kernel: string; readonly initrd: string };
  /** Where the ISOs lie that nodes may name by path. */
  readonly isoDirectories: readonly string[];
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
const CHUNK = 1024 * 1024;

/** iPXE asks over HTTP without saying what it is; the script works under BIOS and UEFI alike. */
const askingIpxe: Firmware = { ...systemFirmware, program: "ipxe", http: true };

/** @source UEFI 2.10 §24.7.3 for the types that its HTTP boot loads */
const CONTENT_TYPES: readonly (readonly [string, string])[] = [
  [".efi", "application/efi"],
  [".iso", "application/vnd.efi-iso"],
  [".img", "application/vnd.efi-img"],
  [".ipxe", "text/plain; charset=utf-8"],
  [".cfg", "text/plain; charset=utf-8"],
];

const SCRIPT = /^\/boot\/([0-9a-fA-F]{2}(?:[-:][0-9a-fA-F]{2}){5})\.ipxe$/;
/** The ISO that only this machine may have, below the secret that its script names. */
const OWN_ISO = /^\/own\/([A-Za-z0-9_-]+)\/([0-9a-f]{2}(?:-[0-9a-f]{2}){5})\.iso$/;

/** Loaders, scripts, kernel, initrd and ISOs over HTTP, with or without TLS. */
export class BootHttp implements AsyncDisposable {
  readonly #options: BootHttpOptions;
  readonly #listeners: BootListener[] = [];
  readonly #sender = new FileSender();
  readonly #sending = new Set<Socket>();
  readonly #counts = { requests: 0, refused: 0, failed: 0, running: 0, bytes: 0 };
  #closing: Promise<void> | undefined;

  constructor(options: BootHttpOptions) {
    this.#options = options;
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
      if (!this.#sending.has(socket)) socket.destroy();
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
      mac: this.#options.store.leases.byAddress(peer as Ipv4Address)?.mac ?? undefined,
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
    const file = await this.#find(path, request);
    if (file === null) throw new Fault("not-found", "http.not-found", `${withoutBootSecret(path)} is not here`);
    await using _file = file;
    return await this.#sendFile(request, response, file, contentType(path), this.#isRendered(path));
  }

  #isRendered(path: string): boolean {
    return path.endsWith(".ipxe") && !path.startsWith("/loader/");
  }

  async #find(path: string, request: IncomingMessage): Promise<BootFile | null> {
    if (path === "/ramdisk/kernel") return await openBootFile(this.#options.ramdisk.kernel);
    if (path === "/ramdisk/initrd") return await openBootFile(this.#options.ramdisk.initrd);
    if (path.startsWith("/loader/")) return await this.#options.loaders.open(path.slice("/loader/".length));
    if (path === "/boot.ipxe") return this.#rendered(entryScriptText(rootAsAsked(request)));
    const [, secret, owner] = OWN_ISO.exec(path) ?? [];
    if (secret !== undefined && owner !== undefined) return await this.#iso(parseMacAddress(owner), secret, request);
    const name = SCRIPT.exec(path)?.[1];
    return name === undefined ? null : this.#rendered(this.#script(parseMacAddress(name), request));
  }

  #script(mac: MacAddress, request: IncomingMessage): string {
    const address = ipv4Of(request.socket.localAddress) as Ipv4Address;
    const { store, boot } = this.#options;
    const known = findMachine(store, mac);
    const services = servicesFor(request, servicesAt(boot, address));
    const plan = planFor(known, boot, { mac, firmware: askingIpxe, services });
    if (plan.confidential) this.#requireOwner(mac, request);
    return bootText("ipxe", { mac, known, plan, services }, boot.templates);
  }

  /** The ISO that the machine's instance names by path, while it is to boot it. */
  async #iso(mac: MacAddress, secret: string, request: IncomingMessage): Promise<BootFile | null> {
    const { store, boot, isoDirectories } = this.#options;
    const { node } = findMachine(store, mac);
    const instance = node?.bootTarget === "network" ? networkInstance(node) : undefined;
    if (node === undefined || instance?.kind !== "iso" || isBootUrl(instance.source)) return null;
    this.#requireOwner(mac, request);
    if (!isSameSecret(secret, boot.secrets(mac, node)))
      throw new Fault("refused", "http.secret", "the secret is wrong");
    return await openFileIn(isoDirectories, instance.source);
  }

  /** @throws Fault refused when the request does not come from the address that this machine was given */
  #requireOwner(mac: MacAddress, request: IncomingMessage): void {
    const peer = ipv4Of(request.socket.remoteAddress) as Ipv4Address;
    if (this.#options.store.leases.byAddress(peer)?.mac !== mac)
      throw new Fault("refused", "http.foreign", `${peer} is not the address of ${mac}`);
  }

  #rendered(text: string): BootFile {
    const bytes = Buffer.from(text, "utf8");
    return memoryFile(
      bytes,
      createHash("sha256").update(bytes).digest("base64url").slice(0, 22),
      this.#options.clock.wall(),
    );
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

  /** How many bytes of the body went out. */
  async #sendFile(
    request: IncomingMessage,
    response: ServerResponse,
    file: BootFile,
    type: string,
    rendered: boolean,
  ): Promise<number> {
    const etag = `"${file.version}"`;
    const answer = answerFile(request.headers, { etag, modified: file.modified, size: file.size });
    response.setHeader("ETag", etag);
    response.setHeader("Accept-Ranges", "bytes");
    // A script says what to do now; nobody may keep it.
    response.setHeader("Cache-Control", rendered ? "no-store" : "no-cache");
    if (!rendered) response.setHeader("Last-Modified", file.modified.toUTCString());
    response.statusCode = answer.status;
    switch (answer.status) {
      case 304:
      case 412:
        response.end();
        return 0;
      case 416:
        response.setHeader("Content-Range", `bytes */${file.size}`);
        response.end();
        return 0;
      case 200:
      case 206: {
        const first = answer.status === 206 ? answer.first : 0;
        const last = answer.status === 206 ? answer.last : file.size - 1;
        const length = last - first + 1;
        if (answer.status === 206) response.setHeader("Content-Range", `bytes ${first}-${last}/${file.size}`);
        response.setHeader("Content-Type", type);
        response.setHeader("Content-Length", length);
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
    using gone = abortOnClose(socket);
    if (socket.writableLength > 0) await new Promise((resolve) => socket.write("", resolve));
    const descriptor = descriptorOf(socket);
    if (descriptor === null) {
      await streamBody(response, file.handle, first, length);
      return;
    }
    const part = { socket: descriptor, file: file.handle, offset: first, length, patience: STALLED };
    this.#sending.add(socket);
    try {
      await this.#sender.send(part, gone.signal);
    } finally {
      this.#sending.delete(socket);
    }
    response.end();
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

function isTls(request: IncomingMessage): boolean {
  return request.socket instanceof TLSSocket;
}

/** Who can ask by TLS loads by TLS. */
function servicesFor(request: IncomingMessage, services: BootServices): BootServices {
  return isTls(request) ? { ...services, http: services.https ?? services.http } : services;
}

function rootAsAsked(request: IncomingMessage): string {
  return `${isTls(request) ? "https" : "http"}://${request.headers.host ?? ipv4Of(request.socket.localAddress)}`;
}

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

function contentType(path: string): string {
  return CONTENT_TYPES.find(([ending]) => path.endsWith(ending))?.[1] ?? "application/octet-stream";
}

function ipv4Of(address: string | undefined): string {
  return (address ?? "").replace(/^::ffff:/, "");
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

/**
 * Waits until the answers before it on the same connection are out: so a client that asks for much at once has one file open. Clients
 * that ask on as soon as the last byte is there come through here too. @throws Fault cancelled
 */
async function turnOf(request: IncomingMessage, response: ServerResponse): Promise<void> {
  using gone = abortOnClose(request.socket);
  await once(response, "socket", { signal: gone.signal }).catch(() => throwIfAborted(gone.signal));
}

/** Aborts when the connection ends. */
function abortOnClose(socket: Socket): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const onClose = (): void => controller.abort(new Fault("cancelled", "http.aborted", "the client went away"));
  socket.setMaxListeners(0); // as many as requests wait on it
  socket.once("close", onClose);
  if (socket.destroyed) onClose();
  return { signal: controller.signal, [Symbol.dispose]: () => void socket.off("close", onClose) };
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
