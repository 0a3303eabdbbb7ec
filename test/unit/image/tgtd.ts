import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { IscsiTarget } from "../../../src/image/stream.ts";
import { freePort } from "../../free-port.ts";
import { boundToUs } from "../../bound-to-us.ts";

const IQN = "iqn.2026-01.test:stream";
const SECRET = "secretsecret";

/** tgtd (package tgt) on loopback, without a target yet; `admin` takes tgtadm's options. End it with SIGKILL. */
export async function spawnTgtd(): Promise<{
  readonly process: ChildProcess;
  readonly port: number;
  readonly admin: (options: string) => void;
}> {
  const port = await freePort();
  const control = String(randomInt(1000, 32_000));
  const process = spawn(...boundToUs("tgtd", "-f", "--iscsi", `portal=127.0.0.1:${port}`, "-C", control), {
    stdio: "ignore",
  });
  const admin = (options: string): void =>
    void execFileSync("tgtadm", ["-C", control, ...options.split(" ")], { stdio: "pipe" });
  for (let attempt = 0; ; attempt += 1) {
    try {
      admin("--op show --mode sys");
      return { process, port, admin };
    } catch (error) {
      if (attempt > 200) throw error;
      await sleep(50);
    }
  }
}

/** tgtd (package tgt) on loopback with a LUN for each disk file, behind CHAP. */
export class Tgtd implements Disposable {
  readonly targets: readonly IscsiTarget[];
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, targets: readonly IscsiTarget[]) {
    this.#process = process;
    this.targets = targets;
  }

  static async start(disks: readonly string[]): Promise<Tgtd> {
    const { process, port, admin } = await spawnTgtd();
    admin(`--lld iscsi --op new --mode target --tid 1 -T ${IQN}`);
    for (const [index, disk] of disks.entries())
      admin(`--lld iscsi --op new --mode logicalunit --tid 1 --lun ${index + 1} -b ${disk}`);
    admin(`--lld iscsi --op new --mode account --user rack --password ${SECRET}`);
    admin("--lld iscsi --op bind --mode account --tid 1 --user rack");
    admin("--lld iscsi --op bind --mode target --tid 1 -I ALL");
    const targets = disks.map((_, index) => ({
      address: "127.0.0.1",
      port,
      iqn: IQN,
      lun: index + 1,
      initiatorIqn: "iqn.2026-01.org.ironrack:test",
      chap: { username: "rack", password: SECRET },
    }));
    return new Tgtd(process, targets);
  }

  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL"); // it ignores SIGTERM while it has targets
  }
}

/** Stands between a stream and its target, and lets only so many bytes through until it is opened. */
export class Gate implements AsyncDisposable {
  /** The target as it is reached through the gate. */
  readonly target: IscsiTarget;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  readonly #held = new Set<Socket>();
  #left: number;

  private constructor(server: ReturnType<typeof createServer>, target: IscsiTarget, bytes: number) {
    this.#server = server;
    this.#left = bytes;
    this.target = { ...target, port: (server.address() as AddressInfo).port };
    server.on("connection", (ours) => this.#pass(ours, connect(target.port, target.address)));
  }

  static async before(target: IscsiTarget, bytes: number): Promise<Gate> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Gate(server, target, bytes);
  }

  #pass(ours: Socket, theirs: Socket): void {
    for (const socket of [ours, theirs]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        ours.destroy();
        theirs.destroy();
      });
    }
    theirs.pipe(ours);
    ours.on("data", (bytes: Buffer) => {
      theirs.write(bytes);
      this.#left -= bytes.length;
      if (this.#left > 0) return;
      ours.pause();
      this.#held.add(ours);
    });
  }

  open(): void {
    this.#left = Number.POSITIVE_INFINITY;
    for (const socket of this.#held) socket.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
