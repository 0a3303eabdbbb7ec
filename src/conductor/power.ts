import { setMaxListeners } from "node:events";
import type { NodeUuid } from "../core/brand.ts";
import { Fault, toFault } from "../core/fault.ts";
import { type Millis, millis } from "../core/units.ts";
import type { Node } from "../domain/node.ts";
import type { PowerState, PowerTarget } from "../domain/power-state.ts";
import { provisionStates } from "../domain/provision-state.ts";
import type { DriverRegistry } from "./driver-registry.ts";
import { type MachineParts, recordPower } from "./machine.ts";
import { change, nodeOf, record } from "./node-changes.ts";
import type { HeldLock, NodeLocks } from "./node-lock.ts";
import { taskOf } from "./task.ts";

const READ_TIMEOUT = millis(30_000);
const CHANGE_TIMEOUT = millis(15 * 60_000);
/** Readings that may fail in a row before the node goes to maintenance. @source Ironic power_state_sync_max_retries */
const MOST_UNREADABLE = 3;
/** A BMC that refused our login is left alone for so long: many lock an account after a few wrong passwords. */
const REFUSED_PAUSE = millis(15 * 60_000);

export interface PowerParts extends MachineParts {
  readonly drivers: DriverRegistry;
  readonly locks: NodeLocks;
}

/** Power on request, and the watch over what the BMCs say. */
export class PowerControl implements AsyncDisposable {
  readonly #parts: PowerParts;
  readonly #controller = new AbortController();
  readonly #background = new Set<Promise<void>>();
  readonly #unreadable = new Map<NodeUuid, number>();
  readonly #notBefore = new Map<NodeUuid, Millis>();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: PowerParts) {
    setMaxListeners(0, this.#controller.signal);
    this.#parts = parts;
  }

  /** Carries out a stored request in the background; takes over the lock. */
  start(uuid: NodeUuid, target: PowerTarget, lock: HeldLock): void {
    const work = this.#change(uuid, target)
      .catch((error: unknown) => this.#parts.log.error("daemon.bug", { node: uuid }, error))
      .finally(() => {
        lock.release();
        this.#background.delete(work);
      });
    this.#background.add(work);
  }

  async #change(uuid: NodeUuid, target: PowerTarget): Promise<void> {
    const { store, drivers, clock, log } = this.#parts;
    try {
      using deadline = clock.deadline(CHANGE_TIMEOUT, this.#controller.signal);
      const node = nodeOf(store, uuid);
      const task = taskOf(store, node);
      const state = await drivers
        .interfacesOf(node)
        .power.setPowerState(task, target, { signal: deadline.signal, log });
      await recordPower(this.#parts, uuid, state, { restarted: target === "rebooting" || target === "soft rebooting" });
      log.info("node.power", { node: uuid, state });
    } catch (error) {
      if (this.#controller.signal.aborted) return;
      const text = `Failed to change power state to '${target}': ${toFault(error).message}`;
      log.warn("node.failed", { node: uuid, code: toFault(error).code, reason: text });
      await store.commit((tx) => {
        const changed = change(tx, clock, nodeOf(tx, uuid), { targetPowerState: null, lastError: text });
        record(
          tx,
          changed,
          "node.failed",
          { step: null, reason: text, code: toFault(error).code, verb: target },
          "ERROR",
        );
      });
    }
  }

  /** Reads the power state now and stores it. @throws what the BMC's driver throws */
  async read(node: Node, signal: AbortSignal): Promise<PowerState> {
    const { store, drivers, clock, log } = this.#parts;
    using deadline = clock.deadline(READ_TIMEOUT, signal);
    return await drivers.interfacesOf(node).power.getPowerState(taskOf(store, node), { signal: deadline.signal, log });
  }

  /** Begins the watch: every interval each idle node's BMC is read; a difference is stored and told, never fought. */
  watch(): void {
    const { clock, settings, log } = this.#parts;
    const signal = this.#controller.signal;
    this.#loop = (async () => {
      while (!signal.aborted) {
        await clock.sleep(settings.powerSyncInterval, signal);
        await this.syncAll();
      }
    })().catch((error: unknown) => {
      if (toFault(error).kind !== "cancelled") log.error("daemon.bug", {}, error);
    });
  }

  async syncAll(): Promise<void> {
    const queue = this.#parts.store.nodes.list().filter((node) => this.#isIdle(node));
    const workers = Array.from({ length: this.#parts.settings.powerSyncWorkers }, async () => {
      for (let node = queue.shift(); node !== undefined; node = queue.shift()) await this.#sync(node.uuid);
    });
    await Promise.all(workers);
  }

  #isIdle(node: Node): boolean {
    if ((this.#notBefore.get(node.uuid) ?? 0) > this.#parts.clock.now()) return false;
    const silent = node.provisionState === "enroll" || node.provisionState === "adopt failed";
    const mayBeRead = !node.maintenance || node.fault === "power failure";
    return (
      mayBeRead &&
      !silent &&
      node.targetPowerState === null &&
      provisionStates[node.provisionState].kind !== "waiting" &&
      this.#parts.locks.holder(node.uuid) === null
    );
  }

  async #sync(uuid: NodeUuid): Promise<void> {
    const { store, log, clock } = this.#parts;
    const before = store.nodes.get(uuid);
    if (before === undefined || !this.#isIdle(before)) return;
    let state: PowerState;
    try {
      state = await this.read(before, this.#controller.signal);
    } catch (error) {
      if (!this.#controller.signal.aborted) await this.#unreadableNode(uuid, toFault(error));
      return;
    }
    this.#unreadable.delete(uuid);
    this.#notBefore.delete(uuid);
    await store.commit((tx) => {
      const node = tx.nodes.get(uuid);
      if (node === undefined || !this.#isIdle(node)) return;
      if (node.fault === "power failure") {
        record(
          tx,
          change(tx, clock, node, {
            maintenance: false,
            maintenanceReason: null,
            fault: null,
            powerState: state,
            lastError: null,
          }),
          "node.maintenance",
          { maintenance: false, reason: "the BMC answers again" },
        );
      } else if (node.powerState !== state) {
        record(
          tx,
          change(tx, clock, node, { powerState: state, ...(state === "power off" ? { agent: null } : {}) }),
          "node.power",
          { from: node.powerState, to: state, reason: "read from the BMC" },
        );
        log.info("power.synced", { node: uuid, state });
      }
    });
  }

  async #unreadableNode(uuid: NodeUuid, fault: Fault): Promise<void> {
    const count = (this.#unreadable.get(uuid) ?? 0) + 1;
    this.#unreadable.set(uuid, count);
    this.#parts.log.warn("power.unreadable", { node: uuid, attempt: count, code: fault.code, reason: fault.message });
    const refused = fault.kind === "refused";
    if (refused) this.#notBefore.set(uuid, (this.#parts.clock.now() + REFUSED_PAUSE) as Millis);
    if (count <= MOST_UNREADABLE && !refused) return;
    await this.#parts.store.commit((tx) => {
      const node = tx.nodes.get(uuid);
      if (node === undefined || node.maintenance) return;
      const text = `During sync_power_state, ${refused ? "access was refused" : "max retries exceeded"} for node ${uuid}: ${fault.message}`;
      const changed = change(tx, this.#parts.clock, node, {
        powerState: null,
        maintenance: true,
        maintenanceReason: text,
        fault: "power failure",
        lastError: text,
      });
      record(tx, changed, "node.maintenance", { maintenance: true, reason: text }, "ERROR");
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort(new Fault("cancelled", "daemon.stopping", "the daemon is stopping"));
    await this.#loop;
    await Promise.allSettled(this.#background);
  }
}
