import { type NodeUuid, parseMacAddress, parsePortUuid } from "../core/brand.ts";
import { type Clock, instant } from "../core/clock.ts";
import type { JsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { BootMode, BootTarget } from "../domain/boot-device.ts";
import type { Node } from "../domain/node.ts";
import type { PowerState, PowerTarget } from "../domain/power-state.ts";
import type { Store } from "../domain/store.ts";
import type { Interfaces, Machine, Progress, Task } from "../driver/interfaces.ts";
import { change, nodeOf, record } from "./node-changes.ts";
import type { ConductorSettings } from "./settings.ts";
import { stepName } from "./step-plan.ts";
import { taskOf } from "./task.ts";

const REPORT_INTERVAL_MS = 1000;

export interface MachineParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: ConductorSettings;
  readonly log: Log;
}

/** Stores a power state that was read or confirmed; off or a new start ends the agent's life. */
export async function recordPower(
  parts: Pick<MachineParts, "store" | "clock">,
  uuid: NodeUuid,
  state: PowerState,
  options: { readonly restarted: boolean },
): Promise<void> {
  await parts.store.commit((tx) => {
    const node = nodeOf(tx, uuid);
    const agentGone = state === "power off" || options.restarted;
    const fields: Partial<Node> = { powerState: state, targetPowerState: null, ...(agentGone ? { agent: null } : {}) };
    const changed = change(tx, parts.clock, node, fields);
    if (node.powerState !== state || options.restarted)
      record(tx, changed, "node.power", { from: node.powerState, to: state });
  });
}

/** The machine of one node for one step. */
export class ConductedMachine implements Machine {
  readonly #parts: MachineParts;
  readonly #uuid: NodeUuid;
  readonly #interfaces: Interfaces;
  readonly #signal: AbortSignal;
  readonly #step: string;
  #lastReport = Number.NEGATIVE_INFINITY;
  #first: { readonly at: number; readonly bytes: number } | undefined;

  constructor(
    parts: MachineParts & {
      readonly uuid: NodeUuid;
      readonly interfaces: Interfaces;
      readonly signal: AbortSignal;
      readonly step: string;
    },
  ) {
    this.#parts = parts;
    this.#uuid = parts.uuid;
    this.#interfaces = parts.interfaces;
    this.#signal = parts.signal;
    this.#step = parts.step;
  }

  #task(): Task {
    return taskOf(this.#parts.store, nodeOf(this.#parts.store, this.#uuid));
  }

  #options(): { readonly signal: AbortSignal; readonly log: Log } {
    return { signal: this.#signal, log: this.#parts.log };
  }

  async bootRamdisk(): Promise<void> {
    const { target, device } = this.#interfaces.boot.ramdisk;
    await this.setBootTarget(target);
    await this.power("power off");
    await this.#interfaces.management.setBootDevice(
      this.#task(),
      { device, persistent: false },
      this.#task().node.bootMode,
      this.#options(),
    );
    await this.power("power on");
  }

  agentIsAlive(): boolean {
    const { agent, powerState } = this.#task().node;
    if (
      !this.#parts.settings.fastTrack ||
      powerState !== "power on" ||
      agent?.callbackUrl == null ||
      agent.lastHeartbeat === null
    )
      return false;
    return this.#parts.clock.wall().getTime() - Date.parse(agent.lastHeartbeat) < this.#parts.settings.fastTrackTimeout;
  }

  async prepareInstanceBoot(): Promise<void> {
    const { target, device } = this.#interfaces.boot.instance(this.#task());
    await this.setBootTarget(target);
    await this.#interfaces.management.setBootDevice(
      this.#task(),
      { device, persistent: true },
      this.#task().node.bootMode,
      this.#options(),
    );
  }

  async setBootTarget(target: BootTarget): Promise<void> {
    await this.#parts.store.commit((tx) =>
      change(tx, this.#parts.clock, nodeOf(tx, this.#uuid), { bootTarget: target }),
    );
  }

  async power(target: PowerTarget): Promise<void> {
    const { store, clock } = this.#parts;
    await store.commit((tx) => change(tx, clock, nodeOf(tx, this.#uuid), { targetPowerState: target }));
    const state = await this.#interfaces.power.setPowerState(this.#task(), target, this.#options());
    await recordPower(this.#parts, this.#uuid, state, {
      restarted: target === "rebooting" || target === "soft rebooting",
    });
  }

  report(progress: Progress): void {
    const now = this.#parts.clock.now();
    this.#first ??= { at: now, bytes: progress.bytes };
    const done = progress.total > 0 && progress.bytes >= progress.total; // 0: nobody knows yet
    if (!done && now - this.#lastReport < REPORT_INTERVAL_MS) return;
    this.#lastReport = now;
    const elapsed = (now - this.#first.at) / 1000;
    const rate = elapsed > 0 ? (progress.bytes - this.#first.bytes) / elapsed / 1e6 : 0;
    this.#parts.store
      .commit(
        (tx) => {
          record(tx, nodeOf(tx, this.#uuid), "node.step.progress", {
            step: this.#step,
            bytes: progress.bytes,
            total: progress.total,
            ...(progress.resumed === undefined ? {} : { resumed: progress.resumed }),
            mb_s: Math.round(rate * 10) / 10,
          });
        },
        { durable: false },
      )
      .catch((error: unknown) => this.#parts.log.error("store.failed", { node: this.#uuid }, error));
  }

  keep(state: JsonObject, reached: number): void {
    this.#parts.store
      .commit(
        (tx) => {
          const node = nodeOf(tx, this.#uuid);
          const step = node.operation?.steps[node.operation.index];
          // The step may have ended meanwhile: what it kept went with it.
          if (node.operation === null || step === undefined || stepName(step) !== this.#step) return;
          // A step that comes further may be begun as often as it takes.
          const further = reached > (node.operation.reached ?? 0) ? { reached, attempt: 1 } : {};
          change(tx, this.#parts.clock, node, { operation: { ...node.operation, kept: state, ...further } });
        },
        { durable: false },
      )
      .catch((error: unknown) => this.#parts.log.error("store.failed", { node: this.#uuid }, error));
  }

  async storeInventory(inventory: JsonObject): Promise<void> {
    await this.#parts.store.commit((tx) => {
      tx.inventory.put(this.#uuid, inventory);
      record(tx, nodeOf(tx, this.#uuid), "node.inspected", {});
    });
  }

  async learn(found: {
    readonly properties?: JsonObject;
    readonly bootMode?: BootMode;
    readonly powerState?: PowerState;
  }): Promise<void> {
    await this.#parts.store.commit((tx) => {
      const node = nodeOf(tx, this.#uuid);
      change(tx, this.#parts.clock, node, {
        properties: { ...node.properties, ...found.properties },
        ...(found.bootMode === undefined ? {} : { bootMode: found.bootMode }),
        ...(found.powerState === undefined ? {} : { powerState: found.powerState }),
      });
    });
  }

  async ensurePorts(addresses: readonly { readonly address: string; readonly pxeEnabled: boolean }[]): Promise<void> {
    const { store, clock, random } = this.#parts;
    await store.commit((tx) => {
      const node = nodeOf(tx, this.#uuid);
      for (const { address, pxeEnabled } of addresses) {
        const mac = parseMacAddress(address);
        if (tx.ports.byAddress(mac) !== undefined) continue;
        const at = instant(clock);
        const uuid = parsePortUuid(random.uuid());
        tx.ports.put({
          uuid,
          nodeUuid: this.#uuid,
          address: mac,
          pxeEnabled,
          localLinkConnection: {},
          physicalNetwork: null,
          extra: {},
          createdAt: at,
          updatedAt: at,
        });
        record(tx, node, "port.created", { port: uuid, address: mac, pxe_enabled: pxeEnabled });
      }
    });
  }
}
