import { toFault } from "../core/fault.ts";
import type { Log, LogFields } from "../core/log.ts";
import type { Store, Transaction } from "../domain/store.ts";

/** Messages that wait for the disk; whoever comes behind them would be answered too late to care. */
const MOST_PENDING = 2048;

/** Why a message is not answered that `add` has no room for. */
export const TOO_MANY_WAIT = "more is asked for than the disk takes; the client asks again";

interface LeaseQueueParts<Message, Decision> {
  readonly store: Pick<Store, "commit">;
  readonly log: Log;
  readonly counts: { failed: number };
  /** Puts what it decides into the transaction. */
  readonly decide: (message: Message, tx: Transaction) => Decision;
  /** Called once what the decision promises is on disk. */
  readonly decided: (message: Message, decision: Decision) => void;
  /** What a line about the message says. */
  readonly fieldsOf: (message: Message, reason: string) => LogFields;
}

/**
 * Decides, in a transaction, about messages that may end in a lease: there the leases are that were granted a moment before.
 * While one group is on its way to the disk the next one gathers: one wait for the disk serves many clients.
 */
export class LeaseQueue<Message, Decision> implements AsyncDisposable {
  readonly #parts: LeaseQueueParts<Message, Decision>;
  #pending: Message[] = [];
  #committing: Promise<void> | undefined;

  constructor(parts: LeaseQueueParts<Message, Decision>) {
    this.#parts = parts;
  }

  /** False when too many wait already. */
  add(message: Message): boolean {
    if (this.#pending.length >= MOST_PENDING) return false;
    this.#pending.push(message);
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

  async #commit(group: readonly Message[]): Promise<void> {
    const { store, decide, counts, log } = this.#parts;
    let decisions: readonly (readonly [Message, Decision])[];
    try {
      decisions = await store.commit((tx) => group.map((message) => [message, decide(message, tx)] as const));
    } catch (error) {
      const fault = toFault(error);
      counts.failed += group.length;
      log.error("dhcp.failed", { reason: fault.message, code: fault.code, messages: group.length }, error);
      return;
    }
    for (const [message, decision] of decisions) this.#tell(message, decision);
  }

  /** One answer that cannot be made must not keep the others of its group back. */
  #tell(message: Message, decision: Decision): void {
    const { decided, counts, log, fieldsOf } = this.#parts;
    try {
      decided(message, decision);
    } catch (error) {
      counts.failed += 1;
      log.error("dhcp.failed", fieldsOf(message, "an answer could not be made"), error);
    }
  }

  /** Lets what waits reach the disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#committing;
  }
}
