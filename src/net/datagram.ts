import { createSocket, type Socket, type SocketOptions } from "node:dgram";
import { Fault } from "../core/fault.ts";

export interface DatagramEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface ReceivedDatagram {
  readonly bytes: Uint8Array;
  readonly from: DatagramEndpoint;
}

/** A server's UDP socket that calls for each datagram and sends without waiting. */
export interface DatagramServer extends AsyncDisposable {
  readonly local: DatagramEndpoint;
  /** How many datagrams were lost because they were not received in time. */
  readonly dropped: number;
  /** The bytes are the listener's only until it returns. One listener, which must not throw. */
  listen(listener: (datagram: ReceivedDatagram) => void): void;
  /** Gives one datagram to the network; `failed` is called, later, when the network refuses it. It must not post. */
  post(bytes: Uint8Array, to: DatagramEndpoint, failed?: (fault: Fault) => void): void;
  close(): Promise<void>;
}

/** An IPv6 group that a socket hears on one interface. */
export interface MulticastGroup {
  readonly group: string;
  readonly interface: string;
}

/** Where a server's socket comes from. */
export type DatagramBinding =
  /** Bound already: by systemd (sd_listen_fds) or by the addon to one interface. The socket owns it from now on. */
  | {
      readonly kind: "fd";
      readonly fd: number;
      readonly broadcast: boolean;
      /** Absent: IPv4. */
      readonly ipv6?: { readonly multicast: MulticastGroup | null };
    }
  | { readonly kind: "address"; readonly address: string; readonly port: number; readonly broadcast: boolean };

/** Peers are given by number: the system's resolver, which dgram would ask for each datagram, has nothing to add. */
const numericOnly: NonNullable<SocketOptions["lookup"]> = (address, _options, found) =>
  found(null, address, address.includes(":") ? 6 : 4);

/** How many datagrams wait for the receiver; beyond them new ones are dropped, as the kernel does. */
const CAPACITY = 4096;
/** The kernel gives no more than net.core.rmem_max allows. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;

/** A server's UDP socket: many peers, what has arrived is received in batches, in order. Closing ends the receiver. */
export class DatagramSocket implements DatagramServer {
  readonly local: DatagramEndpoint;
  readonly #socket: Socket;
  #waiting: ReceivedDatagram[] = [];
  #wake: (() => void) | undefined;
  #listener: ((datagram: ReceivedDatagram) => void) | undefined;
  #dropped = 0;
  #closed: Promise<void> | undefined;

  private constructor(socket: Socket) {
    const { address, port } = socket.address();
    this.#socket = socket;
    this.local = { address, port };
    socket.on("message", (buffer, from) => {
      // A plain view: cutting pieces out of a Buffer costs several times as much.
      const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
      this.#arrived({ bytes, from: { address: from.address, port: from.port } });
    });
    // Refusals of earlier sends (ICMP) arrive here on some kernels; each send reports its own failure.
    socket.on("error", () => {});
  }

  /** @throws Fault conflict `udp.bind` when the port is taken, may not be used, or the descriptor is no UDP socket */
  static open(binding: DatagramBinding): Promise<DatagramSocket> {
    // Never reuseAddr: a second process would silently take over the port.
    const socket = createSocket({ type: isIpv6(binding) ? "udp6" : "udp4", lookup: numericOnly });
    return new Promise((resolve, reject) => {
      const failed = (error: unknown): void => {
        socket.close();
        const message = error instanceof Error ? error.message : String(error);
        const where = binding.kind === "fd" ? `descriptor ${binding.fd}` : `${binding.address}:${binding.port}`;
        reject(new Fault("conflict", "udp.bind", `cannot listen on UDP ${where}: ${message}`, { cause: error }));
      };
      const bound = (): void => {
        socket.off("error", failed);
        try {
          if (binding.broadcast) socket.setBroadcast(true);
          const multicast = binding.kind === "fd" ? binding.ipv6?.multicast : undefined;
          if (multicast != null) socket.addMembership(multicast.group, `::%${multicast.interface}`);
          socket.setRecvBufferSize(RECEIVE_BUFFER);
        } catch (error) {
          failed(error);
          return;
        }
        resolve(new DatagramSocket(socket));
      };
      socket.once("error", failed);
      if (binding.kind === "fd") socket.bind({ fd: binding.fd }, bound);
      else socket.bind(binding.port, binding.address, bound);
    });
  }

  get dropped(): number {
    return this.#dropped;
  }

  #arrived(datagram: ReceivedDatagram): void {
    if (this.#listener !== undefined) {
      this.#listener(datagram);
      return;
    }
    if (this.#waiting.length >= CAPACITY) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(datagram);
    this.#wake?.();
  }

  /** Everything that arrived since the last batch, until the socket is closed. One receiver. */
  async *receive(): AsyncGenerator<readonly ReceivedDatagram[], void, void> {
    while (this.#closed === undefined) {
      if (this.#waiting.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
        continue;
      }
      const batch = this.#waiting;
      this.#waiting = [];
      yield batch;
    }
  }

  /**
   * Calls for each datagram at once, instead of `receive`: for an exchange in lockstep, where a promise for every packet
   * costs more than the packet (TFTP with a window of 1 was three times slower with it).
   */
  listen(listener: (datagram: ReceivedDatagram) => void): void {
    this.#listener = listener;
    for (const datagram of this.#waiting.splice(0)) listener(datagram);
  }

  /** Gives one datagram to the network without waiting; when the network refuses it, it is lost like any other. */
  post(bytes: Uint8Array | readonly Uint8Array[], to: DatagramEndpoint, failed?: (fault: Fault) => void): void {
    if (this.#closed !== undefined) return;
    const sent =
      failed === undefined
        ? undefined
        : (error: Error | null) => (error === null ? undefined : failed(sendFault(to, error)));
    this.#socket.send(bytes instanceof Uint8Array ? bytes : [...bytes], to.port, to.address, sent);
  }

  /** Gives one datagram, made of the parts, to the network. @throws Fault unreachable */
  send(parts: Uint8Array | readonly Uint8Array[], to: DatagramEndpoint): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) {
        reject(new Fault("cancelled", "udp.closed", "the socket is closed"));
        return;
      }
      const bytes = parts instanceof Uint8Array ? parts : [...parts];
      this.#socket.send(bytes, to.port, to.address, (error) => {
        if (error === null) resolve();
        else reject(sendFault(to, error));
      });
    });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#socket.close(() => resolve());
      this.#wake?.();
    });
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function isIpv6(binding: DatagramBinding): boolean {
  return binding.kind === "fd" ? binding.ipv6 !== undefined : binding.address.includes(":");
}

function sendFault(to: DatagramEndpoint, error: Error): Fault {
  return new Fault("unreachable", "udp.send", `cannot send to ${to.address}:${to.port}: ${error.message}`, {
    cause: error,
  });
}
