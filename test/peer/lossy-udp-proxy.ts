import { createSocket, type Socket } from "node:dgram";
import { SeededRandom } from "../../src/core/random.ts";

export interface LossOptions {
  readonly seed: number;
  /** In percent, each way. */
  readonly lose: number;
  readonly duplicate: number;
  /** In percent, towards the server alone; as `duplicate` if absent. */
  readonly duplicateRequests?: number;
  /** Up to so many milliseconds, so that packets overtake each other. */
  readonly jitterMs: number;
}

/** A UDP path that loses, repeats and delays datagrams both ways, the same way for the same seed. */
export class LossyUdpProxy {
  readonly counters = { passed: 0, lost: 0, repeated: 0 };
  options: LossOptions;
  readonly #front: Socket;
  readonly #server: number;
  readonly #random: SeededRandom;
  readonly #backs = new Map<number, Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(front: Socket, server: number, options: LossOptions) {
    this.#front = front;
    this.#server = server;
    this.options = options;
    this.#random = new SeededRandom(options.seed);
    front.on("message", (bytes, from) => {
      const back = this.#back(from.port);
      const { duplicate, duplicateRequests } = this.options;
      this.#pass(duplicateRequests ?? duplicate, () => back.send(bytes, this.#server, "127.0.0.1", () => undefined));
    });
  }

  static async start(server: number, options: LossOptions): Promise<LossyUdpProxy> {
    const front = createSocket("udp4");
    await new Promise<void>((done) => front.bind(0, "127.0.0.1", done));
    return new LossyUdpProxy(front, server, options);
  }

  get port(): number {
    return this.#front.address().port;
  }

  #back(client: number): Socket {
    const known = this.#backs.get(client);
    if (known !== undefined) return known;
    const back = createSocket("udp4");
    back.on("error", () => undefined);
    back.on("message", (bytes) =>
      this.#pass(this.options.duplicate, () => this.#front.send(bytes, client, "127.0.0.1", () => undefined)),
    );
    this.#backs.set(client, back);
    return back;
  }

  #pass(duplicate: number, send: () => void): void {
    const { lose, jitterMs } = this.options;
    if (this.#random.below(100) < lose) {
      this.counters.lost += 1;
      return;
    }
    const copies = this.#random.below(100) < duplicate ? 2 : 1;
    if (copies === 2) this.counters.repeated += 1;
    for (let copy = 0; copy < copies; copy += 1) {
      this.counters.passed += 1;
      const timer = setTimeout(
        () => {
          this.#timers.delete(timer);
          send();
        },
        this.#random.below(jitterMs + 1),
      );
      this.#timers.add(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(
      [this.#front, ...this.#backs.values()].map((socket) => new Promise<void>((done) => socket.close(() => done()))),
    );
  }
}
