import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../free-port.ts";
import { boundToUs } from "../bound-to-us.ts";

/** A mosquitto of the test's own on loopback, that can be killed and started again with what it persisted. */
export class Broker implements AsyncDisposable {
  readonly port: number;
  readonly #directory: string;
  #process: ChildProcess | undefined;

  private constructor(port: number, directory: string) {
    this.port = port;
    this.#directory = directory;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  static async start(settings: readonly string[] = []): Promise<Broker> {
    const broker = new Broker(await freePort(), await mkdtemp(join(tmpdir(), "ironrack-broker-")));
    const lines = [
      `listener ${broker.port} 127.0.0.1`,
      "allow_anonymous true",
      "persistence true",
      `persistence_location ${broker.#directory}/`,
      "autosave_interval 1",
      "max_queued_messages 0",
      "max_inflight_messages 0",
      "set_tcp_nodelay true",
      "user root",
      ...settings.map((line) => line.replaceAll("{dir}", broker.#directory)),
    ];
    await writeFile(join(broker.#directory, "mosquitto.conf"), `${lines.join("\n")}\n`);
    await broker.up();
    return broker;
  }

  get directory(): string {
    return this.#directory;
  }

  async up(): Promise<void> {
    this.#process = spawn(...boundToUs("mosquitto", "-c", join(this.#directory, "mosquitto.conf")), {
      stdio: "ignore",
    });
    for (let attempt = 0; attempt < 200; attempt += 1) {
      if (await answers(this.port)) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error("mosquitto does not answer");
  }

  async down(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A TCP proxy that can swallow everything without closing anything: a WAN that is cut. */
export class Wire implements AsyncDisposable {
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  cut = false;
  connections = 0;

  private constructor(port: number, server: ReturnType<typeof createServer>) {
    this.port = port;
    this.#server = server;
  }

  static async to(target: number): Promise<Wire> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const wire = new Wire(address.port, server);
    server.on("connection", (near) => {
      wire.connections += 1;
      const far = connect(target, "127.0.0.1");
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        wire.#sockets.add(from);
        from.on("data", (chunk) => {
          if (!wire.cut) to.write(chunk);
        });
        from.on("error", () => undefined);
        from.on("close", () => {
          wire.#sockets.delete(from);
          if (!wire.cut) to.destroy();
        });
      }
    });
    return wire;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  /** Ends every connection at once. */
  reset(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
