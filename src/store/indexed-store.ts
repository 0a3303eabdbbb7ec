import { type Clock, throwIfAborted } from "../core/clock.ts";
import { Fault, toFault } from "../core/fault.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { JsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { NodeUuid } from "../core/brand.ts";
import type {
  CommandReader,
  CommitOptions,
  HistoryReader,
  LeaseReader,
  NodeReader,
  PortReader,
  Store,
  Transaction,
  VolumeReader,
} from "../domain/store.ts";
import type { Disk } from "./disk.ts";
import { type Retention, trim } from "./retention.ts";
import { commandReader, leaseReader, nodeReader, portReader, State, volumeReader } from "./state.ts";
import { openTransaction } from "./transaction.ts";

interface Pending {
  readonly work: (tx: Transaction) => unknown;
  readonly durable: boolean;
  resolve(result: unknown): void;
  reject(fault: unknown): void;
}

interface Waiter {
  readonly after: number;
  resolve(): void;
}

/**
 * A store that answers from memory and writes in groups: while one batch is on its way to the disk, commits queue up; then
 * they run one after the other over a layer and go out as the next batch. Memory changes only after the disk has.
 */
export class IndexedStore implements Store, AsyncDisposable {
  readonly nodes: NodeReader;
  readonly ports: PortReader;
  readonly volumes: VolumeReader;
  readonly leases: LeaseReader;
  readonly leases6: LeaseReader<Ipv6Address>;
  readonly commands: CommandReader;
  readonly history: HistoryReader;
  readonly outbox: { readonly acknowledged: number };
  readonly inventory: { get(node: NodeUuid): Promise<JsonObject | undefined> };
  readonly #state: State;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #retention: Retention;
  readonly #waiters = new Set<Waiter>();
  #queue: Pending[] = [];
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: {
    readonly state: State;
    readonly disk: Disk;
    readonly clock: Clock;
    readonly log: Log;
    readonly retention: Retention;
  }) {
    const { state, disk } = parts;
    this.#state = state;
    this.#disk = disk;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#retention = parts.retention;
    this.nodes = nodeReader(state);
    this.ports = portReader(state);
    this.volumes = volumeReader(state);
    this.leases = leaseReader(state.leases);
    this.leases6 = leaseReader(state.leases6);
    this.commands = commandReader(state);
    this.history = {
      get lastSeq() {
        return state.marks.lastSeq;
      },
      read: (after, limit) => disk.readHistory(after, state.marks.lastSeq, limit),
      waitAfter: (seq, signal) => this.#waitAfter(seq, signal),
    };
    this.outbox = {
      get acknowledged() {
        return state.marks.acknowledged;
      },
    };
    this.inventory = { get: (node) => disk.readInventory(node) };
  }

  commit<T>(work: (tx: Transaction) => T, options: CommitOptions = {}): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(new Fault("storage", "store.closed", "the store is closed"));
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({
        work,
        durable: options.durable ?? true,
        resolve: resolve as (result: unknown) => void,
        reject,
      });
      this.#draining ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // commits of the same turn go out together
    while (this.#queue.length > 0) {
      const group = this.#queue;
      this.#queue = [];
      await this.#commitGroup(group);
    }
    this.#draining = undefined;
  }

  async #commitGroup(group: readonly Pending[]): Promise<void> {
    const batch = new State(this.#state);
    const done: { readonly pending: Pending; readonly result: unknown }[] = [];
    let sync = false;
    for (const pending of group) {
      // What fails alone must leave no trace in the batch of all; where there is no other, the batch is given up.
      const layer = group.length === 1 ? batch : new State(batch);
      try {
        const result = pending.work(openTransaction(layer, this.#clock));
        if (result instanceof Promise) {
          result.catch(() => undefined);
          throw new Fault("internal", "store.asynchronous", "a transaction's callback must be synchronous");
        }
        // A sequence number that was seen must never be given again, so history is never left to a later flush.
        sync ||= (pending.durable && layer.changed) || layer.history.length > 0;
        if (layer !== batch) layer.merge();
        done.push({ pending, result });
      } catch (error) {
        pending.reject(error);
        if (layer === batch) return;
      }
    }
    try {
      if (batch.changed) {
        trim(batch, this.#state, this.#retention, this.#clock, this.#log);
        await this.#disk.write(batch.changes(), this.#state, sync);
      }
    } catch (error) {
      const fault = asStorageFault(error);
      this.#log.error("store.failed", { code: fault.code, reason: fault.message }, fault.cause);
      for (const { pending } of done) pending.reject(fault);
      return;
    }
    batch.merge();
    if (batch.history.length > 0) this.#wake();
    for (const { pending, result } of done) pending.resolve(result);
  }

  #waitAfter(seq: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      throwIfAborted(signal);
      if (this.#state.marks.lastSeq > seq) {
        resolve();
        return;
      }
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(abortFault(signal));
      };
      const waiter: Waiter = {
        after: seq,
        resolve: () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      this.#waiters.add(waiter);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters) {
      if (this.#state.marks.lastSeq <= waiter.after) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  /** Lets what was committed reach the disk, then closes. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= (async () => {
      await this.#draining;
      await this.#disk.close();
    })();
    return this.#closing;
  }
}

function abortFault(signal: AbortSignal): Fault {
  return signal.reason instanceof Fault
    ? signal.reason
    : new Fault("cancelled", "cancelled", "cancelled", { cause: signal.reason });
}

function asStorageFault(error: unknown): Fault {
  const fault = toFault(error);
  if (fault.kind === "storage") return fault;
  return new Fault("storage", "store.failed", `the store could not be written: ${fault.message}`, { cause: error });
}
