import { toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { AddressDecision } from "../domain/address-policy.ts";
import type { Store } from "../domain/store.ts";
import type { DhcpCounts } from "./dhcp-counters.ts";
import type { DhcpDecider } from "./dhcp-decider.ts";
import type { Exchange } from "./dhcp-exchange.ts";

/** Messages that wait for the disk; whoever comes behind them would be answered too late to care. */
const MOST_PENDING = 2048;

interface DhcpLeaseQueueParts {
  readonly store: Pick<Store, "commit">;
  readonly log: Log;
  readonly decider: DhcpDecider;
  readonly counts: DhcpCounts;
  /** Called once what the decision promises is on disk; must not throw. */
  readonly decided: (exchange: Exchange, decision: AddressDecision) => void;
}

/**
 * Decides, in a transaction, about messages that may end in a lease: there the leases are that were granted a moment before.
 * While one group is on its way to the disk the next one gathers: one wait for the disk serves many clients.
 */
export class DhcpLeaseQueue implements AsyncDisposable {
  readonly #parts: DhcpLeaseQueueParts;
  #pending: Exchange[] = [];
  #committing: Promise<void> | undefined;

  constructor(parts: DhcpLeaseQueueParts) {
    this.#parts = parts;
  }

  /** False when too many wait already. */
  add(exchange: Exchange): boolean {
    if (this.#pending.length >= MOST_PENDING) return false;
    this.#pending.push(exchange);
    this.#committing ??= this.#commitPending();
    return true;
  }

  async #commitPending(): Promise<void> {
    await Promise.resolve(); // what one reading of the socket brought goes out together
    while (this.#pending.length > 0) {
      const group = this.#pending;
      this.#pending = [];
      await this.#commit(group);
    }
    this.#committing = undefined;
  }

  async #commit(group: readonly Exchange[]): Promise<void> {
    const { store, decider, decided, counts, log } = this.#parts;
    let decisions: readonly AddressDecision[];
    try {
      decisions = await store.commit((tx) =>
        group.map((exchange) => {
          const decision = decider.decide(exchange, tx.leases);
          if (decision.kind === "ack") {
            if (decision.instead !== null) tx.leases.delete(decision.instead);
            tx.leases.put(decision.lease);
          }
          if (decision.kind === "returned") tx.leases.put(decision.lease);
          return decision;
        }),
      );
    } catch (error) {
      const fault = toFault(error);
      counts.failed += group.length;
      log.error("dhcp.failed", { reason: fault.message, code: fault.code, messages: group.length }, error);
      return;
    }
    for (const [at, exchange] of group.entries()) {
      const decision = decisions[at];
      if (decision !== undefined) decided(exchange, decision);
    }
  }

  /** Lets what waits reach the disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#committing;
  }
}
