import type { Ipv4Address } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { MalformedFault, toFault } from "../core/fault.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { Log } from "../core/log.ts";
import type { DatagramEndpoint, DatagramSocket, ReceivedDatagram } from "../net/datagram.ts";
import { type TftpErrorName, tftpErrors } from "../protocol/tftp/error-code.ts";
import { negotiate, type TermLimits } from "../protocol/tftp/negotiation.ts";
import { toNetascii } from "../protocol/tftp/netascii.ts";
import { decodeTftp, encodeTftp, type TftpPacket } from "../protocol/tftp/packet.ts";
import type { AddressOwners } from "./address-owners.ts";
import { type BootFile, memoryFile } from "./boot-file.ts";
import { MinuteLog } from "./minute-log.ts";
import { type AllowanceTerms, RequestAllowance } from "./request-allowance.ts";
import { TftpSender, type TransferResult } from "./tftp-sender.ts";

/** Gives the file of this name to this client, or null. The service closes it. */
export type TftpSource = (request: {
  readonly file: string;
  readonly peer: DatagramEndpoint;
  readonly server: Ipv4Address | Ipv6Address;
}) => Promise<BootFile | null>;

export interface TftpLink {
  /** Ours, that transfers are served from. */
  readonly address: Ipv4Address | Ipv6Address;
  /** Bound to port 69. The service closes it. */
  readonly socket: DatagramSocket;
}

export interface TftpServiceOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** To name the machine in the log. */
  readonly leases: AddressOwners;
  readonly links: readonly TftpLink[];
  /** Asked in order; the first that has the file gives it. */
  readonly sources: readonly TftpSource[];
  readonly limits: TermLimits & {
    readonly transfers: number;
    readonly transfersPerClient: number;
    readonly requestsPerClient: AllowanceTerms;
  };
}

export interface TftpCounters {
  readonly received: number;
  readonly malformed: number;
  readonly refused: number;
  /** Requests that were left to be repeated because too much runs. */
  readonly postponed: number;
  readonly running: number;
  readonly complete: number;
  readonly declined: number;
  readonly failed: number;
  readonly bytes: number;
}

type Request = Extract<TftpPacket, { readonly kind: "rrq" | "wrq" }>;

/** netascii is for text: a larger file in it is a mistake. */
const LARGEST_TEXT = 4 * 1024 * 1024;

/** The TFTP server: read requests only, a port for each transfer. */
export class TftpService implements AsyncDisposable {
  readonly #options: TftpServiceOptions;
  readonly #malformed: MinuteLog;
  readonly #running = new Map<string, Promise<void>>();
  readonly #perClient = new Map<string, number>();
  readonly #sender = new TftpSender();
  readonly #allowance: RequestAllowance;
  #stopping = false;
  readonly #counts = {
    received: 0,
    malformed: 0,
    refused: 0,
    postponed: 0,
    complete: 0,
    declined: 0,
    failed: 0,
    bytes: 0,
  };
  #loops: readonly Promise<void>[] = [];

  constructor(options: TftpServiceOptions) {
    this.#options = options;
    this.#allowance = new RequestAllowance(options.clock, options.limits.requestsPerClient);
    this.#malformed = new MinuteLog({ clock: options.clock, log: options.log, event: "tftp.malformed" });
  }

  start(): void {
    this.#loops = this.#options.links.map((link) => this.#serveLink(link));
    for (const link of this.#options.links) {
      this.#options.log.info("tftp.listening", { address: link.address, port: String(link.socket.local.port) });
    }
  }

  counters(): TftpCounters {
    return { ...this.#counts, running: this.#running.size };
  }

  async #serveLink(link: TftpLink): Promise<void> {
    for await (const batch of link.socket.receive()) {
      for (const datagram of batch) this.#receive(link, datagram);
    }
  }

  #receive(link: TftpLink, { bytes, from }: ReceivedDatagram): void {
    this.#counts.received += 1;
    let packet: TftpPacket;
    try {
      packet = decodeTftp(bytes);
    } catch (error) {
      if (!(error instanceof MalformedFault)) throw error;
      this.#reportMalformed(error, from);
      return;
    }
    if (packet.kind === "error") return; // to answer an error with an error would never end
    if (packet.kind !== "rrq" && packet.kind !== "wrq") {
      this.#refuse(link, from, "unknownTransferId", "no transfer on this port", null);
      return;
    }
    this.#request(link, from, packet);
  }

  #reportMalformed(fault: MalformedFault, from: DatagramEndpoint): void {
    this.#counts.malformed += 1;
    this.#malformed.report(fault.field.slice(0, 32), { peer: from.address, reason: fault.message.slice(0, 200) });
  }

  #request(link: TftpLink, from: DatagramEndpoint, request: Request): void {
    const key = `${from.address}:${from.port}`;
    if (this.#running.has(key)) return; // repeated because our answer is late
    const ofClient = this.#perClient.get(from.address) ?? 0;
    const { limits } = this.#options;
    const much = this.#running.size >= limits.transfers || ofClient >= limits.transfersPerClient;
    if (much || this.#stopping || !this.#allowance.take(from.address)) {
      // Silence makes the client ask again in a second; an error would make it give up.
      this.#counts.postponed += 1;
      return;
    }
    if (request.kind === "wrq") {
      this.#refuse(link, from, "accessViolation", "files can only be read", request);
      return;
    }
    if (request.mode !== "octet" && request.mode !== "netascii") {
      this.#refuse(link, from, "illegalOperation", `mode ${request.mode.slice(0, 16)} is not served`, request);
      return;
    }
    this.#perClient.set(from.address, ofClient + 1);
    const transfer = this.#serve(link, from, request).finally(() => {
      this.#running.delete(key);
      const left = (this.#perClient.get(from.address) ?? 1) - 1;
      if (left > 0) this.#perClient.set(from.address, left);
      else this.#perClient.delete(from.address);
    });
    this.#running.set(key, transfer);
  }

  /** Never throws: what goes wrong is logged and told to the client. */
  async #serve(link: TftpLink, peer: DatagramEndpoint, request: Request): Promise<void> {
    const fields = { ...this.#fields(peer), file: request.file.slice(0, 200) };
    try {
      const file = await this.#open(link, peer, request);
      if (file === null) {
        this.#refuse(link, peer, "fileNotFound", "no such file", request);
        return;
      }
      await using _file = file;
      const negotiated = negotiate(request.options, { limits: this.#options.limits, size: file.size });
      const started = this.#options.clock.now();
      const { result, malformed } = await this.#sender.send({ address: link.address, peer, file, negotiated });
      if (malformed > 0) {
        this.#counts.malformed += malformed;
        this.#malformed.report("transfer", { peer: peer.address, reason: "what arrived in a transfer was not TFTP" });
      }
      const { terms } = negotiated;
      const elapsed_ms = Math.round(this.#options.clock.now() - started);
      this.#record(
        result,
        { ...fields, bytes: file.size, blksize: terms.blksize, windowsize: terms.windowsize, elapsed_ms },
        file.size,
      );
    } catch (error) {
      const fault = toFault(error);
      this.#counts.failed += 1;
      if (fault.kind === "storage") this.#tell(link, peer, "notDefined", "the file cannot be read");
      this.#options.log.warn("tftp.failed", { ...fields, code: fault.code, reason: fault.message });
      if (fault.kind === "internal") this.#options.log.error("daemon.bug", fields, error);
    }
  }

  async #open(link: TftpLink, peer: DatagramEndpoint, request: Request): Promise<BootFile | null> {
    for (const source of this.#options.sources) {
      const file = await source({ file: request.file, peer, server: link.address });
      if (file === null) continue;
      return request.mode === "netascii" ? await asText(file) : file;
    }
    return null;
  }

  #record(result: TransferResult, fields: Parameters<Log["info"]>[1], size: number): void {
    const { log } = this.#options;
    switch (result.kind) {
      case "complete":
        this.#counts.complete += 1;
        this.#counts.bytes += size;
        log.info("tftp.done", fields);
        return;
      case "declined":
        this.#counts.declined += 1;
        log.debug("tftp.declined", { ...fields, code: result.code, reason: result.message });
        return;
      case "aborted":
        this.#counts.failed += 1;
        log.warn("tftp.failed", { ...fields, code: result.code, reason: `the client ended it: ${result.message}` });
        return;
      case "lost":
        this.#counts.failed += 1;
        log.warn("tftp.failed", { ...fields, reason: result.message });
        return;
    }
  }

  #refuse(link: TftpLink, to: DatagramEndpoint, error: TftpErrorName, message: string, request: Request | null): void {
    this.#counts.refused += 1;
    this.#options.log.info("tftp.refused", {
      ...this.#fields(to),
      code: tftpErrors[error],
      reason: message,
      file: request?.file.slice(0, 200),
    });
    this.#tell(link, to, error, message);
  }

  #tell(link: TftpLink, to: DatagramEndpoint, error: TftpErrorName, message: string): void {
    link.socket.post(encodeTftp({ kind: "error", code: tftpErrors[error], message }), to);
  }

  #fields(peer: DatagramEndpoint): { readonly peer: string; readonly mac: string | undefined } {
    return { peer: peer.address, mac: this.#options.leases.byAddress(peer.address)?.mac ?? undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    await this.#sender[Symbol.asyncDispose]();
    await Promise.all(this.#options.links.map((link) => link.socket.close()));
    await Promise.all([...this.#loops, ...this.#running.values()]);
  }
}

/** The file in netascii, or null when it is too large to be text. */
async function asText(file: BootFile): Promise<BootFile | null> {
  await using source = file;
  if (source.size > LARGEST_TEXT) return null;
  return memoryFile(toNetascii(await source.read(0, source.size)), source.version, source.modified);
}
