import { Fault, isFault, toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Store } from "../domain/store.ts";
import type { MqttConnection } from "../net/mqtt-connection.ts";
import type { NodePublisher } from "./node-publisher.ts";

export interface EventPublisherParts {
  readonly connection: MqttConnection;
  readonly topic: string;
  readonly nodes: NodePublisher;
  readonly store: Pick<Store, "history" | "outbox" | "commit">;
  readonly log: Log;
  /** Events sent and not acknowledged. Default 100. */
  readonly inFlight?: number;
}

/** How many entries are read from the disk at once. */
const BATCH = 256;

/**
 * Sends the history from the last acknowledged entry on, in order, over one connection. An entry counts as acknowledged when the
 * broker has it, the present state of its node, and everything before it; so the site sees each at least once, and `seq` tells
 * a repetition from news.
 */
export class EventPublisher {
  readonly #parts: EventPublisherParts;
  /** Acknowledged, but something before them is not. */
  readonly #early = new Set<number>();
  #acknowledged: number;
  #inFlight = 0;
  #storing: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #failure: Fault | undefined;

  constructor(parts: EventPublisherParts) {
    this.#parts = parts;
    this.#acknowledged = parts.store.outbox.acknowledged;
  }

  /** Runs until the signal aborts or the connection ends. @throws Fault */
  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#parts;
    let sent = this.#acknowledged;
    const wake = (): void => this.#wake?.();
    signal.addEventListener("abort", wake, { once: true });
    try {
      for (;;) {
        const entries = await store.history.read(sent, BATCH);
        for (const entry of entries) {
          await this.#room(signal);
          // Entries that were trimmed are missing at the front: nobody can acknowledge them any more.
          for (let missing = sent + 1; missing < entry.seq; missing += 1) this.#early.add(missing);
          sent = entry.seq;
          void this.#send(entry);
        }
        if (entries.length === 0) await store.history.waitAfter(sent, signal);
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /** Waits until one more may be under way. @throws Fault what ended the connection, or cancelled */
  async #room(signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (signal.aborted) throw toFault(signal.reason);
      if (this.#inFlight < (this.#parts.inFlight ?? 100)) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async #send(entry: HistoryEntry): Promise<void> {
    const { nodes } = this.#parts;
    this.#inFlight += 1;
    try {
      await Promise.all([this.#publish(entry), entry.node === null ? undefined : nodes.refresh(entry.node)]);
      this.#acknowledge(entry.seq);
    } catch (error) {
      this.#failure ??= toFault(error);
    } finally {
      this.#inFlight -= 1;
      this.#wake?.();
    }
  }

  async #publish(entry: HistoryEntry): Promise<void> {
    const { connection, topic } = this.#parts;
    try {
      await connection.publish({ topic, payload: JSON.stringify(entry), qos: 1 });
    } catch (error) {
      if (!isFault(error) || error.code !== "message.large") throw error;
      // One event that the broker does not take must not hold up all that come after it.
      await connection.publish({ topic, payload: JSON.stringify({ ...entry, data: { truncated: true } }), qos: 1 });
    }
  }

  #acknowledge(seq: number): void {
    this.#early.add(seq);
    while (this.#early.delete(this.#acknowledged + 1)) this.#acknowledged += 1;
    if (this.#storing === undefined) this.#storing = this.#store();
  }

  /** One write at a time, each of the newest number. Losing one costs a repetition, so it need not be on disk at once. */
  async #store(): Promise<void> {
    const { store, log } = this.#parts;
    try {
      while (store.outbox.acknowledged < this.#acknowledged) {
        const seq = this.#acknowledged;
        await store.commit((tx) => tx.outbox.acknowledge(seq), { durable: false });
      }
    } catch (error) {
      const fault = toFault(error);
      log.error("store.failed", { code: fault.code, reason: fault.message }, error);
      this.#failure ??= fault;
      this.#wake?.();
    } finally {
      this.#storing = undefined;
    }
  }
}
