import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { throwIfAborted } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";

export interface UdpEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: UdpEndpoint;
}

export interface UdpOptions {
  /** Where to listen; port 0 is any free one. */
  readonly bind?: UdpEndpoint;
  /** The only peer: datagrams of others are not received, and the network's refusals are. A host name is looked up. */
  readonly connect?: { readonly host: string; readonly port: number };
  /** How many datagrams wait to be received; beyond them the oldest is dropped. */
  readonly capacity?: number;
}

interface Receiver {
  readonly resolve: (datagram: Datagram) => void;
  readonly reject: (error: Fault) => void;
}

const CAPACITY = 64;

/** A UDP socket with one receiver. Closing is idempotent and ends a pending receive with the fault `udp.closed`. */
export class UdpSocket implements AsyncDisposable {
  readonly local: UdpEndpoint;
  readonly #socket: Socket;
  readonly #connected: boolean;
  readonly #capacity: number;
  readonly #waiting: (Datagram | Fault)[] = [];
  #receiver: Receiver | undefined;
  #dropped = 0;
  #closed: Promise<void> | undefined;

  private constructor(socket: Socket, options: UdpOptions) {
    const { address, port } = socket.address();
    this.#socket = socket;
    this.#connected = options.connect !== undefined;
    this.#capacity = options.capacity ?? CAPACITY;
    this.local = { address, port };
    socket.on("message", (bytes, from) =>
      this.#arrived({ bytes: new Uint8Array(bytes), from: { address: from.address, port: from.port } }),
    );
    socket.on("error", (error) => this.#arrived(networkFault(error)));
  }

  /** @throws Fault unreachable if the name is not known or the address has no route; `udp.bind` if the port is taken */
  static async open(
    options: UdpOptions,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<UdpSocket> {
    throwIfAborted(signal);
    const peer = options.connect === undefined ? undefined : await addressOf(options.connect.host);
    throwIfAborted(signal);
    const family = peer?.family ?? isIP(options.bind?.address ?? "0.0.0.0");
    const socket = createSocket({ type: family === 6 ? "udp6" : "udp4" });
    try {
      await settled(socket, (done) => socket.bind(options.bind?.port ?? 0, options.bind?.address, done));
    } catch (error) {
      socket.close();
      throw new Fault(
        "conflict",
        "udp.bind",
        `cannot listen on UDP port ${options.bind?.port ?? 0}: ${(error as Error).message}`,
        { cause: error },
      );
    }
    if (options.connect !== undefined && peer !== undefined) {
      const { port } = options.connect;
      try {
        await settled(socket, (done) => socket.connect(port, peer.address, done));
      } catch (error) {
        socket.close();
        throw networkFault(error as Error);
      }
    }
    const udp = new UdpSocket(socket, options);
    if (signal?.aborted === true) await udp.close();
    throwIfAborted(signal);
    return udp;
  }

  /** How many datagrams were dropped because nobody received them in time. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Gives the datagram to the network. @throws Fault unreachable if the network refuses it at once */
  send(bytes: Uint8Array, to?: UdpEndpoint): Promise<void> {
    return new Promise((done, reject) => {
      const sent = (error: Error | null): void => (error === null ? done() : reject(networkFault(error)));
      if (this.#closed !== undefined) reject(closedFault());
      else if (to === undefined) this.#socket.send(bytes, sent);
      else this.#socket.send(bytes, to.port, to.address, sent);
    });
  }

  /**
   * The next datagram. @throws Fault the signal's reason when it aborts; unreachable when the network reported (ICMP)
   * that the peer of a connected socket cannot be reached
   */
  async receive({ signal }: { readonly signal?: AbortSignal } = {}): Promise<Datagram> {
    throwIfAborted(signal);
    const first = this.#waiting.shift();
    if (first instanceof Fault) throw first;
    if (first !== undefined) return first;
    if (this.#closed !== undefined) throw closedFault();
    if (this.#receiver !== undefined) throw new Fault("internal", "udp.receivers", "the socket has a receiver already");
    return new Promise((resolve, reject) => {
      const stop = (): void => signal?.removeEventListener("abort", onAbort);
      const onAbort = (): void => {
        this.#receiver = undefined;
        try {
          throwIfAborted(signal);
        } catch (error) {
          reject(error as Error);
        }
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#receiver = {
        resolve: (datagram) => (stop(), resolve(datagram)),
        reject: (error) => (stop(), reject(error)),
      };
    });
  }

  #arrived(what: Datagram | Fault): void {
    const receiver = this.#receiver;
    if (receiver !== undefined) {
      this.#receiver = undefined;
      if (what instanceof Fault) receiver.reject(what);
      else receiver.resolve(what);
      return;
    }
    // A refusal that nobody waits for would only tell the next receiver about the past.
    if (what instanceof Fault && !this.#connected) return;
    this.#waiting.push(what);
    if (this.#waiting.length > this.#capacity) {
      this.#waiting.shift();
      this.#dropped += 1;
    }
  }

  /** Forgets what has arrived and was not received. */
  discardWaiting(): void {
    this.#waiting.length = 0;
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((done) => {
      this.#receiver?.reject(closedFault());
      this.#receiver = undefined;
      this.#socket.close(() => done());
    });
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function addressOf(host: string): Promise<{ readonly address: string; readonly family: number }> {
  const family = isIP(host);
  if (family !== 0) return { address: host, family };
  try {
    return await lookup(host);
  } catch (error) {
    throw new Fault("unreachable", "udp.name", `the host name ${host} cannot be resolved; correct it or the resolver`, {
      cause: error,
    });
  }
}

function settled(socket: Socket, start: (done: () => void) => void): Promise<void> {
  return new Promise((done, reject) => {
    const failed = (error: Error): void => reject(error);
    socket.once("error", failed);
    start(() => {
      socket.off("error", failed);
      done();
    });
  });
}

const SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens on the port",
  EHOSTUNREACH: "no route to the host, or it does not answer ARP",
  ENETUNREACH: "no route to the network",
  EHOSTDOWN: "the host is down",
  EPERM: "a local firewall rule forbids it",
  EACCES: "a local firewall rule forbids it",
};

function networkFault(error: Error): Fault {
  const code = (error as NodeJS.ErrnoException).code ?? "unknown";
  return new Fault("unreachable", "udp.unreachable", SENTENCES[code] ?? error.message, {
    cause: error,
    detail: { errno: code },
  });
}

function closedFault(): Fault {
  return new Fault("cancelled", "udp.closed", "the socket is closed");
}
