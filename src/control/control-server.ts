import { chmod, chown, lstat, readFile, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Fault, isFault, toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Catalogue } from "../conductor/catalogue.ts";
import { decodeCall, failed, replyJson, type RpcOutcome, type RpcRequest } from "../protocol/json-rpc.ts";
import { LineSplitter } from "../protocol/line-splitter.ts";

export interface ControlServerParts {
  readonly path: string;
  readonly catalogue: Pick<Catalogue, "execute" | "get">;
  readonly log: Log;
  /** Name of the group that may use the socket beside its owner; without it, the process's own. */
  readonly group?: string | undefined;
  /** Longest request line in bytes; a config drive travels in one. Default 64 MiB. */
  readonly longestLine?: number;
  /** Requests of one connection that may be under way together; further ones wait in the socket. Default 64. */
  readonly inFlight?: number;
}

const MOST_CONNECTIONS = 256;

/**
 * JSON-RPC 2.0 on a Unix socket, a request or batch per line, an answer line each, in the order in which they finish. Who may
 * open the file (0660) is an operator. A caller that goes away cancels what it was reading, never what it was changing.
 */
export class ControlServer implements AsyncDisposable {
  readonly #parts: ControlServerParts;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  private constructor(parts: ControlServerParts) {
    this.#parts = parts;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  /** @throws Fault conflict when another process serves the path, storage when it cannot be made */
  static async open(parts: ControlServerParts): Promise<ControlServer> {
    await removeStale(parts.path);
    const gid = parts.group === undefined ? undefined : await groupId(parts.group);
    const control = new ControlServer(parts);
    await listen(control.#server, parts.path);
    try {
      if (gid !== undefined) await chown(parts.path, -1, gid);
      await chmod(parts.path, 0o660);
    } catch (cause) {
      await control[Symbol.asyncDispose]();
      throw new Fault("storage", "control.listen", `cannot give ${parts.path} to group ${parts.group ?? ""}`, {
        cause,
      });
    }
    parts.log.info("control.listening", { path: parts.path });
    return control;
  }

  #serve(socket: Socket): void {
    const { log, longestLine = 64 * 1024 * 1024, inFlight = 64 } = this.#parts;
    const lines = new LineSplitter(longestLine);
    const gone = new AbortController();
    let running = 0;
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("drain", () => socket.resume());
    socket.on("close", () => {
      this.#sockets.delete(socket);
      gone.abort(new Fault("cancelled", "caller.gone", "the caller closed its connection"));
    });
    const send = (value: unknown): void => {
      if (socket.writable) socket.write(`${JSON.stringify(value)}\n`);
    };
    const answer = async (text: string): Promise<void> => {
      running += 1;
      if (running >= inFlight) socket.pause();
      try {
        const value = await this.#answer(text, gone.signal);
        if (value !== undefined) send(value);
      } finally {
        running -= 1;
        // A caller that sends and does not read must not fill our memory with answers.
        if (!socket.writableNeedDrain) socket.resume();
        else socket.pause();
      }
    };
    socket.on("data", (chunk) => {
      try {
        for (const text of lines.push(chunk)) if (text.trim() !== "") void answer(text);
      } catch (error) {
        const fault = toFault(error);
        log.warn("control.malformed", { code: fault.code, reason: fault.message });
        socket.end(`${JSON.stringify(replyJson({ id: null, outcome: failed(fault) }))}\n`);
      }
    });
  }

  async #answer(text: string, gone: AbortSignal): Promise<unknown> {
    const call = decodeCall(text);
    const replies = await Promise.all(
      call.entries.map(async (entry) => {
        if ("fault" in entry) {
          this.#parts.log.warn("control.malformed", { code: entry.fault.code, reason: entry.fault.message });
          return replyJson({ id: entry.id, outcome: failed(entry.fault) });
        }
        const outcome = await this.#execute(entry, gone);
        return entry.id === undefined ? undefined : replyJson({ id: entry.id, outcome });
      }),
    );
    const present = replies.filter((reply) => reply !== undefined);
    if (present.length === 0) return undefined;
    return call.batch ? present : present[0];
  }

  async #execute(request: RpcRequest, gone: AbortSignal): Promise<RpcOutcome> {
    const { catalogue } = this.#parts;
    const changes = catalogue.get(request.method)?.changes === true;
    const signal = changes ? this.#closing.signal : AbortSignal.any([this.#closing.signal, gone]);
    return await catalogue.execute(
      { method: request.method, params: request.params ?? {}, role: "operator" },
      { signal },
    );
  }

  /** Stops listening, cancels what runs, lets its answers out and removes the socket file. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#closing.abort(new Fault("cancelled", "daemon.stopping", "the daemon stops", { retry: "later" }));
    // The cancelled requests answer in the coming turns of the loop; then the connections end.
    for (let turn = 0; turn < 3; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    for (const socket of this.#sockets) socket.end(() => socket.destroy());
    await ended;
  }
}

/** Binds with 0660 from the first instant: the mask holds while the call binds, which it does before it returns. */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error): void =>
      reject(new Fault("storage", "control.listen", `cannot listen on ${path}: ${cause.message}`, { cause }));
    server.once("error", onError);
    const mask = process.umask(0o117);
    try {
      server.listen(path, () => {
        server.off("error", onError);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}

/** @source group(5) @throws Fault invalid when there is no such group */
async function groupId(name: string): Promise<number> {
  const text = await readFile("/etc/group", "utf8").catch(() => "");
  const id = text
    .split("\n")
    .map((line) => line.split(":"))
    .find(([group]) => group === name)?.[2];
  if (id === undefined) throw new Fault("invalid", "control.group", `there is no group "${name}" (control.group)`);
  return Number(id);
}

/** Removes a socket file that nobody listens on. @throws Fault conflict when somebody does */
async function removeStale(path: string): Promise<void> {
  const answer = await new Promise<"listening" | "stale" | "none">((resolve, reject) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve("listening");
    });
    probe.once("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code === "ENOENT") resolve("none");
      else if (cause.code === "ECONNREFUSED") resolve("stale");
      else reject(new Fault("storage", "control.listen", `cannot use ${path}: ${cause.message}`, { cause }));
    });
  });
  if (answer === "listening") throw new Fault("conflict", "control.taken", `another ironrackd listens on ${path}`);
  if (answer === "none") return;
  try {
    if (!(await lstat(path)).isSocket())
      throw new Fault("storage", "control.listen", `${path} is in the way and is not a socket`);
    await unlink(path);
  } catch (cause) {
    if (isFault(cause)) throw cause;
    throw new Fault("storage", "control.listen", `cannot remove the stale socket ${path}`, { cause });
  }
}
