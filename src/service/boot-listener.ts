import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Secret } from "../core/secret.ts";
import { Fault } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";

/** What a server shows of itself, and its key, both as PEM. */
export interface ServerIdentity {
  readonly cert: string;
  readonly key: Secret;
}

/** Where to listen; with an identity, for TLS. */
export interface BootEndpoint {
  readonly address: string;
  readonly port: number;
  readonly identity: ServerIdentity | null;
}

export interface ListenerLimits {
  readonly connections: number;
  /** A client that takes nothing for so long is gone. */
  readonly stalled: Millis;
}

const KEEP_ALIVE = 30_000;
const HEADERS_TIMEOUT = 15_000;

/** A server for the endpoint, which does not listen yet, and what gives it another identity. */
export class BootListener {
  readonly server: Server;
  readonly #renew: (identity: ServerIdentity) => void;

  constructor({ identity }: BootEndpoint, limits: ListenerLimits) {
    const timeouts = { keepAliveTimeout: KEEP_ALIVE, headersTimeout: HEADERS_TIMEOUT, noDelay: true };
    if (identity === null) {
      this.server = createServer(timeouts);
      this.#renew = () => {};
    } else {
      const tls = createTlsServer({ ...timeouts, ...pemOf(identity), handshakeTimeout: HEADERS_TIMEOUT });
      this.server = tls;
      this.#renew = (renewed) => tls.setSecureContext(pemOf(renewed));
    }
    this.server.maxConnections = limits.connections;
    this.server.timeout = limits.stalled;
  }

  /** @throws Fault conflict when the port is taken */
  listen({ address, port }: BootEndpoint): Promise<void> {
    const { server } = this;
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void =>
        reject(
          new Fault("conflict", "http.bind", `cannot listen on ${address}:${port}: ${error.message}`, { cause: error }),
        );
      server.once("error", failed);
      server.listen(port, address, () => {
        server.off("error", failed);
        resolve();
      });
    });
  }

  /** For connections that are made from now on; a plain listener has none. */
  renew(identity: ServerIdentity): void {
    this.#renew(identity);
  }
}

function pemOf({ cert, key }: ServerIdentity): { readonly cert: string; readonly key: string } {
  return { cert, key: key.reveal() };
}
