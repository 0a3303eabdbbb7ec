import { getSystemErrorName } from "node:util";
import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import { bindUdpToInterface, type NativeDatagramBatch, openDatagramBatch } from "../core/native-addon.ts";
import type { Millis } from "../core/units.ts";
import type { DatagramEndpoint, DatagramServer, ReceivedDatagram } from "./datagram.ts";

/** As the addon has them. */
const RECEIVE_SLOT = 9216;
const SEND_SLOT = 1536;
const SLOTS = 64;
const ROW = 3;

/** So many datagrams within `PACE`, and the socket is read by time instead of one by one. */
const BUSY = 16;
const PACE = 4 as Millis;
/** Slabs read in one turn of the event loop; the rest waits in the kernel, so that nothing else starves. */
const ROUNDS = 8;

/** What waits for it runs once the present code is through. queueMicrotask would make a resource for async_hooks each time. */
const endOfTurn = Promise.resolve();

/**
 * A server's IPv4 socket that the addon reads and writes in batches. A quiet one is read when something arrives; a busy one
 * every four milliseconds, so that one system call and one turn of the event loop serve many clients.
 */
export class BatchSocket implements DatagramServer {
  readonly local: DatagramEndpoint;
  readonly #batch: NativeDatagramBatch;
  readonly #clock: Clock;
  readonly #failures: (((fault: Fault) => void) | undefined)[] = [];
  #listener: ((datagram: ReceivedDatagram) => void) | undefined;
  #queued = 0;
  #flushing = false;
  #cancelPace: (() => void) | undefined;
  #windowStart = 0;
  #windowCount = 0;
  #closed = false;
  #dropped = 0;
  #lastPeer = { number: 0, address: "0.0.0.0" as Ipv4Address };

  /** Owns the descriptor, which is bound to `local`. @throws Fault invalid when it is no UDP socket */
  constructor(parts: { readonly fd: number; readonly local: DatagramEndpoint; readonly clock: Clock }) {
    this.local = parts.local;
    this.#clock = parts.clock;
    this.#batch = openDatagramBatch(parts.fd, () => this.#readable());
  }

  /** A socket that hears one interface alone. @throws Error with the system's code when the port is taken or the interface is not there */
  static onInterface(binding: {
    readonly interface: string;
    readonly address: Ipv4Address;
    readonly port: number;
    readonly broadcast: boolean;
    readonly clock: Clock;
  }): BatchSocket {
    const { address, port, clock } = binding;
    return new BatchSocket({ fd: bindUdpToInterface(binding), local: { address, port }, clock });
  }

  get dropped(): number {
    return this.#closed ? this.#dropped : this.#batch.dropped();
  }

  listen(listener: (datagram: ReceivedDatagram) => void): void {
    this.#listener = listener;
    this.#batch.watch(true);
  }

  #readable(): void {
    const count = this.#drain();
    const now = this.#clock.now();
    if (now - this.#windowStart > PACE) {
      this.#windowStart = now;
      this.#windowCount = 0;
    }
    this.#windowCount += count;
    if (this.#windowCount < BUSY || this.#closed) return;
    this.#batch.watch(false);
    this.#pace();
  }

  #pace(): void {
    this.#cancelPace = this.#clock.after(PACE, () => {
      this.#cancelPace = undefined;
      const count = this.#drain();
      if (this.#closed) return;
      if (count >= BUSY / 2) this.#pace();
      else this.#batch.watch(true);
    });
  }

  #drain(): number {
    const { received, receivedRows } = this.#batch;
    let sum = 0;
    for (let round = 0; round < ROUNDS && !this.#closed; round += 1) {
      const count = this.#batch.receive();
      for (let at = 0; at < count; at += 1) {
        const start = at * RECEIVE_SLOT;
        const bytes = received.subarray(start, start + (receivedRows[at * ROW] ?? 0));
        const address = this.#peer(receivedRows[at * ROW + 1] ?? 0);
        this.#listener?.({ bytes, from: { address, port: receivedRows[at * ROW + 2] ?? 0 } });
      }
      sum += count;
      if (count < SLOTS) break;
    }
    this.#flush();
    return sum;
  }

  /** Behind a relay everything comes from one address. */
  #peer(number: number): Ipv4Address {
    if (this.#lastPeer.number !== number) this.#lastPeer = { number, address: ipv4FromNumber(number) };
    return this.#lastPeer.address;
  }

  post(bytes: Uint8Array, to: DatagramEndpoint, failed?: (fault: Fault) => void): void {
    if (this.#closed) return;
    if (bytes.length > SEND_SLOT) throw new RangeError(`${bytes.length} bytes do not fit in a slot`);
    const at = this.#queued;
    this.#batch.toSend.set(bytes, at * SEND_SLOT);
    const rows = this.#batch.toSendRows;
    rows[at * ROW] = bytes.length;
    rows[at * ROW + 1] = ipv4ToNumber(to.address as Ipv4Address);
    rows[at * ROW + 2] = to.port;
    this.#failures[at] = failed;
    this.#queued = at + 1;
    if (this.#queued === SLOTS) {
      this.#flush();
    } else if (!this.#flushing) {
      this.#flushing = true;
      void endOfTurn.then(() => {
        this.#flushing = false;
        this.#flush();
      });
    }
  }

  /** What was posted in one turn leaves with one system call. */
  #flush(): void {
    const count = this.#queued;
    if (count === 0 || this.#closed) return;
    this.#queued = 0;
    if (this.#batch.send(count) === 0) return;
    for (let at = 0; at < count; at += 1) {
      const errno = this.#batch.toSendRows[at * ROW] ?? 0;
      if (errno === 0) continue;
      this.#failures[at]?.(new Fault("unreachable", "udp.send", `cannot send: ${getSystemErrorName(-errno)}`));
    }
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#flush();
      this.#dropped = this.#batch.dropped();
      this.#closed = true;
      this.#cancelPace?.();
      this.#batch.close();
    }
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
