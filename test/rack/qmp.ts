import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { SystemClock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import { isJsonObject, type Json, type JsonObject, objectProperty, stringProperty } from "../../src/core/json.ts";
import { millis } from "../../src/core/units.ts";

const clock = new SystemClock();

interface Waiting {
  readonly resolve: (value: JsonObject) => void;
  readonly reject: (error: Fault) => void;
}

/**
 * QEMU's machine protocol: commands answered in order, events as they come.
 * @source QEMU docs/interop/qmp-spec.rst
 */
export class Qmp implements Disposable {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];

  private constructor(socket: Socket, onEvent: (event: string, data: JsonObject) => void) {
    this.#socket = socket;
    const lines = createInterface({ input: socket });
    lines.on("line", (line) => {
      const message: unknown = JSON.parse(line);
      if (!isJsonObject(message)) return;
      const event = stringProperty(message, "event");
      const error = objectProperty(message, "error");
      if (event !== undefined) onEvent(event, objectProperty(message, "data") ?? {});
      else if (error !== undefined) {
        const text = stringProperty(error, "desc") ?? "refused";
        this.#waiting.shift()?.reject(new Fault("refused", stringProperty(error, "class") ?? "qmp", `QEMU: ${text}`));
      } else if (Object.hasOwn(message, "return")) this.#waiting.shift()?.resolve(message);
    });
    // readline hands the socket's errors on; what they mean is said at "close".
    lines.on("error", () => undefined);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      for (const waiting of this.#waiting.splice(0)) {
        waiting.reject(new Fault("unreachable", "qmp.closed", "QEMU has ended"));
      }
    });
  }

  /** Connects as soon as QEMU listens, for as long as `alive` says that it may still come. */
  static async connect(
    path: string,
    alive: () => boolean,
    onEvent: (event: string, data: JsonObject) => void,
  ): Promise<Qmp> {
    for (;;) {
      const socket = await attempt(path);
      if (socket !== undefined) {
        const qmp = new Qmp(socket, onEvent);
        await qmp.execute("qmp_capabilities");
        return qmp;
      }
      if (!alive()) throw new Fault("unreachable", "qmp.closed", "QEMU ended before it could be asked");
      await clock.sleep(millis(20));
    }
  }

  execute(command: string, args: Readonly<Record<string, Json>> = {}): Promise<JsonObject> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new Fault("unreachable", "qmp.closed", "QEMU has ended"));
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    });
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

function attempt(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => {
      socket.destroy();
      resolve(undefined);
    });
  });
}
