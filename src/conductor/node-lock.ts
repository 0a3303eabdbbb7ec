import type { NodeUuid } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";

/** A held lock; `release` is idempotent. */
export interface HeldLock extends Disposable {
  readonly purpose: string;
  release(): void;
}

interface Waiter {
  readonly grant: () => void;
}

/** One exclusive lock per node, given in the order of asking. Ironic's `reservation`. */
export class NodeLocks {
  readonly #clock: Clock;
  readonly #held = new Map<NodeUuid, { readonly purpose: string; readonly waiters: Waiter[] }>();

  constructor(parts: { readonly clock: Clock }) {
    this.#clock = parts.clock;
  }

  /** What holds the node, or null. */
  holder(node: NodeUuid): string | null {
    return this.#held.get(node)?.purpose ?? null;
  }

  /** @throws Fault busy when `wait` passes first; without `wait` it waits for ever */
  acquire(node: NodeUuid, purpose: string, wait?: Millis): Promise<HeldLock> {
    const held = this.#held.get(node);
    if (held === undefined) return Promise.resolve(this.#take(node, purpose, []));
    return new Promise((resolve, reject) => {
      let cancelTimer: (() => void) | undefined;
      const waiter: Waiter = {
        grant: () => {
          cancelTimer?.();
          resolve(this.#take(node, purpose, this.#held.get(node)?.waiters ?? []));
        },
      };
      held.waiters.push(waiter);
      if (wait === undefined) return;
      cancelTimer = this.#clock.after(wait, () => {
        const waiters = this.#held.get(node)?.waiters;
        waiters?.splice(waiters.indexOf(waiter), 1);
        reject(
          new Fault(
            "busy",
            "node.locked",
            `node ${node} is locked by "${this.holder(node) ?? purpose}"; try again when that is done`,
            {
              detail: { node, holder: this.holder(node) },
            },
          ),
        );
      });
    });
  }

  #take(node: NodeUuid, purpose: string, waiters: Waiter[]): HeldLock {
    this.#held.set(node, { purpose, waiters });
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      const next = waiters.shift();
      if (next === undefined) this.#held.delete(node);
      else next.grant();
    };
    return { purpose, release, [Symbol.dispose]: release };
  }
}
