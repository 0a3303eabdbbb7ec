import Fastify, { type FastifyInstance } from "fastify";
import { Fault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import { SystemRandom } from "../core/random.ts";
import type { Catalogue } from "../conductor/catalogue.ts";
import { apiError, routingError, unauthorized } from "./error-body.ts";
import { MAXIMUM, MINIMUM, negotiate, versionText } from "./microversion.ts";
import { agentRoutes } from "./routes/agent-routes.ts";
import { readRoutes } from "./routes/read-routes.ts";
import { rootRoutes } from "./routes/root-routes.ts";
import { volumeRoutes } from "./routes/volume-routes.ts";
import { sendError, type RouteParts } from "./routes/route-parts.ts";

export interface ApiServerParts {
  readonly catalogue: Pick<Catalogue, "execute">;
  readonly log: Log;
  readonly address: string;
  /** 0: any; `port` then says which. */
  readonly port: number;
}

const BODY_LIMIT = 1024 * 1024;
/** A request that is not complete by then is dropped: the provisioning network is not to be trusted. */
const REQUEST_TIMEOUT_MS = 60_000;
const MOST_CONNECTIONS = 1024;

/**
 * Ironic's REST API: what agents need, open to everybody on the network, and what reads, for callers on this machine alone until
 * there are users and passwords.
 */
export class ApiServer implements AsyncDisposable {
  readonly #parts: ApiServerParts;
  readonly #app: FastifyInstance;
  readonly #closing = new AbortController();

  constructor(parts: ApiServerParts) {
    this.#parts = parts;
    this.#app = Fastify({
      logger: false,
      bodyLimit: BODY_LIMIT,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionTimeout: REQUEST_TIMEOUT_MS,
      forceCloseConnections: "idle",
      routerOptions: { ignoreTrailingSlash: true },
      ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    });
    this.#app.server.maxConnections = MOST_CONNECTIONS;
    this.#addHooks();
    this.#addRoutes({ catalogue: parts.catalogue, closing: this.#closing.signal });
  }

  /** @throws Fault storage when the address cannot be bound */
  async start(): Promise<void> {
    const { address, port, log } = this.#parts;
    try {
      await this.#app.listen({ host: address, port });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Fault("storage", "api.listen", `the REST API cannot listen on ${address}:${port}: ${reason}`, {
        cause,
      });
    }
    log.info("api.listening", { address, port: String(this.port) });
  }

  /** The port that is listened on. */
  get port(): number {
    const address = this.#app.server.address();
    return address === null || typeof address === "string" ? this.#parts.port : address.port;
  }

  #addRoutes(parts: RouteParts): void {
    this.#app.register(rootRoutes);
    this.#app.register(agentRoutes(parts));
    this.#app.register(async (app) => {
      app.addHook("onRequest", async (request, reply) => {
        if (isLoopback(request.socket.remoteAddress)) return undefined;
        reply.header("WWW-Authenticate", 'Basic realm="Baremetal API"');
        return await sendError(reply, unauthorized());
      });
      await app.register(readRoutes(parts));
      await app.register(volumeRoutes(parts));
    });
  }

  #addHooks(): void {
    const { log } = this.#parts;
    const random = new SystemRandom();
    this.#app.decorateRequest("microversion", MINIMUM);
    this.#app.addHook("onRequest", async (request, reply) => {
      reply.header("Openstack-Request-Id", `req-${random.uuid()}`);
      const header = request.headers["x-openstack-ironic-api-version"];
      const negotiated = negotiate(Array.isArray(header) ? header[0] : header);
      if (negotiated.ok || negotiated.known) {
        reply.header("X-OpenStack-Ironic-API-Minimum-Version", versionText(MINIMUM));
        reply.header("X-OpenStack-Ironic-API-Maximum-Version", versionText(MAXIMUM));
      }
      if (!negotiated.ok) {
        return await sendError(reply, routingError(406, "Not Acceptable", negotiated.reason));
      }
      reply.header("X-OpenStack-Ironic-API-Version", versionText(negotiated.minor));
      request.microversion = negotiated.minor;
      return undefined;
    });
    this.#app.addHook("onResponse", async (request, reply) => {
      const level = reply.statusCode >= 500 ? "warn" : "debug";
      // Without the query and the body: they carry addresses at best and tokens at worst.
      log[level](reply.statusCode >= 500 ? "api.failed" : "api.request", {
        method: request.method,
        path: request.url.split("?")[0],
        code: reply.statusCode,
        peer: request.ip,
        elapsed_ms: Math.round(reply.elapsedTime),
      });
    });
    this.#app.setNotFoundHandler((_request, reply) =>
      sendError(reply, routingError(404, "Not Found", "The resource could not be found.")),
    );
    this.#app.setErrorHandler((error: { readonly statusCode?: number; readonly message?: string }, _request, reply) => {
      const status = error.statusCode ?? 500;
      if (status >= 500) log.error("daemon.bug", { reason: error.message }, error);
      return sendError(
        reply,
        apiError(
          status,
          status >= 500 ? "Internal error; the daemon's log says more." : (error.message ?? "Bad request"),
        ),
      );
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Fault("cancelled", "daemon.stopping", "the daemon stops", { retry: "later" }));
    await this.#app.close();
  }
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && (/^(::ffff:)?127\./.test(address) || address === "::1");
}
