import type { NodeUuid } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { type Millis, millis } from "../core/units.ts";
import type { BootTraceReader } from "../domain/boot-trace.ts";
import type { Node } from "../domain/node.ts";
import type { Operation } from "../domain/operation.ts";
import type { Store } from "../domain/store.ts";

/** What a node found waiting after a restart is given at least: its agent could not report while the daemon was down. */
const GRACE_AFTER_RESTART = millis(180_000);

export type WaitingOperation = Operation & { readonly progress: { readonly kind: "waiting" } };

/** The node's operation if that waits. */
export function waitingOperation(node: Node | undefined): WaitingOperation | null {
  const operation = node?.operation ?? null;
  return operation?.progress.kind === "waiting" ? { ...operation, progress: operation.progress } : null;
}

export interface NodeWaitsParts {
  readonly store: Pick<Store, "nodes" | "ports">;
  readonly clock: Clock;
  readonly log: Log;
  readonly bootTrace: Pick<BootTraceReader, "read">;
  /** The deadline of an operation has passed; it may wait no longer. */
  readonly expired: (node: NodeUuid, operation: string) => Promise<void>;
  /** Nothing was heard of the machine for a while after a restart. */
  readonly silent: (node: NodeUuid, operation: string) => Promise<void>;
}

/** The timers of nodes whose operation waits for their ramdisk. */
export class NodeWaits implements Disposable {
  readonly #parts: NodeWaitsParts;
  readonly #timers = new Map<NodeUuid, () => void>();

  constructor(parts: NodeWaitsParts) {
    this.#parts = parts;
  }

  /** Waits for the operation's deadline, and at least so long. */
  watch(node: Node, least: Millis = millis(0)): void {
    const operation = waitingOperation(node);
    if (operation === null) return;
    const left = Date.parse(operation.progress.deadline) - this.#parts.clock.wallMillis();
    this.#arm(node.uuid, millis(Math.max(least, left)), () => this.#parts.expired(node.uuid, operation.id));
  }

  /**
   * The same after a restart. The daemon may have died while it gave the machine its boot files, and firmware that loses
   * them may have nothing more to try: who is not heard of for a while is silent.
   */
  watchAfterRestart(node: Node): void {
    const operation = waitingOperation(node);
    if (operation === null) return;
    this.#arm(node.uuid, GRACE_AFTER_RESTART, async () => {
      const now = this.#parts.store.nodes.get(node.uuid);
      if (now === undefined || waitingOperation(now)?.id !== operation.id) return;
      if (now.maintenance || this.#isHeardOf(now)) this.watch(now, GRACE_AFTER_RESTART);
      else await this.#parts.silent(now.uuid, operation.id);
    });
  }

  /** Whether the machine's firmware or its agent has come to us since the daemon started; an operating system's DHCP is no sign. */
  #isHeardOf(node: Node): boolean {
    if (node.agent !== null) return true;
    const machines = this.#parts.store.ports.ofNode(node.uuid).map(({ address }) => address);
    const steps = this.#parts.bootTrace.read({ machines, node: null }, 0);
    return steps.some(({ event, fields }) => !event.startsWith("dhcp.") || fields["firmware"] !== undefined);
  }

  #arm(uuid: NodeUuid, delay: Millis, then: () => Promise<void>): void {
    this.clear(uuid);
    const cancel = this.#parts.clock.after(delay, () => {
      then().catch((error: unknown) => this.#parts.log.error("daemon.bug", { node: uuid }, error));
    });
    this.#timers.set(uuid, cancel);
  }

  /** The node waits no longer. */
  clear(uuid: NodeUuid): void {
    this.#timers.get(uuid)?.();
    this.#timers.delete(uuid);
  }

  [Symbol.dispose](): void {
    for (const uuid of this.#timers.keys()) this.clear(uuid);
  }
}
