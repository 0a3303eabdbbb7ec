import { connect, type Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { Fault, toFault } from "../core/fault.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { seconds } from "../core/units.ts";
import type { HistoryEntry } from "../domain/history.ts";
import { decodeReply, encodeRequest, resultOf, type RpcReply } from "../protocol/json-rpc.ts";
import { LineSplitter } from "../protocol/line-splitter.ts";
import { parseEventList } from "./event-json.ts";
import type { CallOptions, Transport } from "./transport.ts";

const LONGEST_LINE = 256 * 1024 * 1024;
const CALL_TIMEOUT = seconds(120);
/** How long one event.list waits in the daemon for something new. */
const POLL_S = 30;

/** JSON-RPC over the daemon's Unix socket; requests in parallel on one connection, which is made again after it was lost. */
export class SocketTransport implements Transport {
  readonly peer: string;
  readonly #clock: Clock;
  #connection: Promise<Connection> | undefined;

  constructor(path: string, clock: Clock) {
    this.peer = path;
    this.#clock = clock;
  }

  /** @throws Fault unreachable, with code `daemon.down` when nobody listens and `daemon.forbidden` when the file may not be opened */
  async open(): Promise<void> {
    await this.#connected();
  }

  async #connected(): Promise<Connection> {
    const present = this.#connection === undefined ? undefined : await this.#connection.catch(() => undefined);
    if (present !== undefined && present.open) return present;
    this.#connection = Connection.open(this.peer);
    return await this.#connection;
  }

  async call(method: string, params: JsonObject, options: CallOptions): Promise<Json> {
    using deadline = this.#clock.deadline(options.timeout ?? CALL_TIMEOUT, options.signal);
    const connection = await this.#connected();
    return resultOf(await connection.call(method, params, deadline.signal));
  }

  async *events(after: number | undefined, signal: AbortSignal): AsyncIterable<HistoryEntry> {
    let seq = after ?? (await this.#lastSeq(signal));
    for (;;) {
      const timeout = seconds(POLL_S + 30);
      const params = { after: seq, limit: 500, wait_s: POLL_S };
      const { events, lastSeq } = parseEventList(await this.call("event.list", params, { signal, timeout }));
      yield* events;
      seq = Math.max(seq, lastSeq);
    }
  }

  async #lastSeq(signal: AbortSignal): Promise<number> {
    return parseEventList(await this.call("event.list", { after: Number.MAX_SAFE_INTEGER, limit: 1 }, { signal }))
      .lastSeq;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    connection?.close();
  }
}

/** One connection, from its opening to its end. */
class Connection {
  readonly #path: string;
  readonly #socket: Socket;
  readonly #waiting = new Map<
    number,
    { readonly resolve: (reply: RpcReply) => void; readonly reject: (fault: Fault) => void }
  >();
  #lastId = 0;
  #ended: Fault | undefined;

  private constructor(path: string, socket: Socket) {
    this.#path = path;
    this.#socket = socket;
    const lines = new LineSplitter(LONGEST_LINE);
    socket.on("data", (chunk) => {
      try {
        for (const line of lines.push(chunk)) this.#receive(decodeReply(line));
      } catch (error) {
        this.#end(toFault(error));
      }
    });
    socket.on("error", (cause) => this.#end(this.#lost(cause)));
    socket.on("close", () => this.#end(this.#lost()));
  }

  static open(path: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const onError = (cause: NodeJS.ErrnoException): void => reject(notConnected(path, cause));
      socket.once("error", onError);
      socket.once("connect", () => {
        socket.off("error", onError);
        resolve(new Connection(path, socket));
      });
    });
  }

  get open(): boolean {
    return this.#ended === undefined;
  }

  async call(method: string, params: JsonObject, signal: AbortSignal): Promise<RpcReply> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = (this.#lastId += 1);
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<RpcReply>((resolve, reject) => {
        onAbort = (): void => reject(toFault(signal.reason));
        if (signal.aborted) return onAbort();
        signal.addEventListener("abort", onAbort, { once: true });
        this.#waiting.set(id, { resolve, reject });
        this.#socket.write(`${encodeRequest({ id, method, params })}\n`);
        return undefined;
      });
    } finally {
      this.#waiting.delete(id);
      if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
    }
  }

  #receive(reply: RpcReply): void {
    const waiting = typeof reply.id === "number" ? this.#waiting.get(reply.id) : undefined;
    if (waiting !== undefined) waiting.resolve(reply);
    // An answer without an id says that a line of ours was bad: what waits would wait for ever.
    else if (reply.id === null && !reply.outcome.ok)
      this.#end(new Fault("internal", "control.refused", reply.outcome.message));
  }

  #end(fault: Fault): void {
    this.#ended ??= fault;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#socket.destroy();
  }

  #lost(cause?: Error): Fault {
    return new Fault(
      "unreachable",
      "daemon.gone",
      `ironrackd closed the connection on ${this.#path}; see: journalctl -u ironrackd -n 50`,
      { cause },
    );
  }

  close(): void {
    this.#end(new Fault("cancelled", "closed", "the connection was closed"));
  }
}

function notConnected(path: string, cause: NodeJS.ErrnoException): Fault {
  if (cause.code === "EACCES" || cause.code === "EPERM") {
    const message = `you may not open ${path}; use sudo, or join its group: ls -l ${path}`;
    return new Fault("unreachable", "daemon.forbidden", message, { cause });
  }
  const message = `ironrackd does not answer on ${path} (${cause.code ?? cause.message}); see: systemctl status ironrackd`;
  return new Fault("unreachable", "daemon.down", message, { cause });
}
