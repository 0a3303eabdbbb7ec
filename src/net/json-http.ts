import { Agent } from "undici";
import { Fault, isFault } from "../core/fault.ts";
import type { Json } from "../core/json.ts";
import { pinnedConnector } from "./pinned-connector.ts";

export interface JsonAnswer {
  readonly status: number;
  /** The parsed body; the text where it is not JSON, null where there is none. */
  readonly body: Json;
}

const CONNECT_TIMEOUT = 10_000;

/** JSON over HTTP to one server. With `pinned`, its certificate must be that one; whom it names does not matter then. */
export class JsonHttp implements AsyncDisposable {
  readonly #origin: string;
  readonly #agent: Agent;

  constructor(parts: { readonly origin: string; readonly pinned: string | null }) {
    this.#origin = parts.origin;
    this.#agent = new Agent({
      connections: 4,
      keepAliveTimeout: 4_000,
      // Waiting is the caller's, by its signal.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: parts.pinned === null ? { timeout: CONNECT_TIMEOUT } : pinnedConnector(parts.pinned, CONNECT_TIMEOUT),
    });
  }

  /** @throws Fault unreachable, refused (another certificate), timeout or cancelled (the signal's reason) */
  async request(
    method: "GET" | "POST",
    path: string,
    options: { readonly body?: Json; readonly signal: AbortSignal },
  ): Promise<JsonAnswer> {
    try {
      const answer = await this.#agent.request({
        origin: this.#origin,
        path,
        method,
        signal: options.signal,
        headers: {
          accept: "application/json",
          ...(options.body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      });
      return { status: answer.statusCode, body: parsed(await answer.body.text()) };
    } catch (error) {
      if (options.signal.aborted && isFault(options.signal.reason)) throw options.signal.reason;
      if (isFault(error)) throw error;
      if (options.signal.aborted) throw new Fault("cancelled", "cancelled", "cancelled", { cause: error });
      // The path may carry a token: only the origin is named.
      throw new Fault("unreachable", "http.unreachable", `no answer from ${this.#origin}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

function parsed(text: string): Json {
  if (text === "") return null;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  return code === undefined ? error.message : `${error.message || "connection failed"} (${code})`;
}
