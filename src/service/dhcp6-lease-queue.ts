import { toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Store } from "../domain/store.ts";
import { fieldsOf6 } from "./dhcp6-answerer.ts";
import type { Dhcp6Counts } from "./dhcp6-counters.ts";
import type { AskedKind, Dhcp6Decider } from "./dhcp6-decider.ts";
import type { Exchange6 } from "./dhcp6-exchange.ts";
import type { AnsweredAssociation } from "./dhcp6-reply.ts";

/** Messages that wait for the disk; whoever comes behind them would be answered too late to care. */
const MOST_PENDING = 2048;

interface Dhcp6LeaseQueueParts {
  readonly store: Pick<Store, "commit">;
  readonly log: Log;
  readonly decider: Dhcp6Decider;
  readonly counts: Dhcp6Counts;
  /** Called once what was decided is on disk. */
  readonly decided: (exchange: Exchange6, kind: AskedKind, answered: readonly AnsweredAssociation[]) => void;
}

/** Decides, in a transaction, about messages that may end in a lease: there the leases are that were granted a moment before. */
export class Dhcp6LeaseQueue implements AsyncDisposable {
  readonly #parts: Dhcp6LeaseQueueParts;
  readonly #pending = new Set<Promise<void>>();

  constructor(parts: Dhcp6LeaseQueueParts) {
    this.#parts = parts;
  }

  /** False when too many wait already. */
  add(exchange: Exchange6, kind: AskedKind): boolean {
    if (this.#pending.size >= MOST_PENDING) return false;
    const { counts, log } = this.#parts;
    const storing = this.#store(exchange, kind)
      .catch((error: unknown) => {
        const fault = toFault(error);
        counts.failed += 1;
        log.error("dhcp.failed", { ...fieldsOf6(exchange, fault.message), code: fault.code }, error);
      })
      .finally(() => this.#pending.delete(storing));
    this.#pending.add(storing);
    return true;
  }

  async #store(exchange: Exchange6, kind: AskedKind): Promise<void> {
    const { store, decider, decided } = this.#parts;
    const answered = await store.commit((tx) => decider.decide(exchange, kind, tx));
    decider.forget(answered);
    decided(exchange, kind, answered);
  }

  /** Lets what waits reach the disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#pending);
  }
}
