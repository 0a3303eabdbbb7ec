import type { Clock } from "../core/clock.ts";
import type { JsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Millis } from "../core/units.ts";
import type { BootDevice, BootMode, BootTarget } from "../domain/boot-device.ts";
import type { InterfaceName, Node, Port } from "../domain/node.ts";
import type { PlannedStep, StepKind, WaitReason } from "../domain/operation.ts";
import type { PowerState, PowerTarget } from "../domain/power-state.ts";
import type { Volume } from "../domain/volume.ts";

/** The node as it was when the call began. A driver reads it and changes nothing: what it wants stored, it returns. */
export interface Task {
  readonly node: Node;
  readonly ports: readonly Port[];
  readonly volumes: readonly Volume[];
}

/** Given last to everything that can wait. After an abort nothing is left open. */
export interface CallOptions {
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * Power over the BMC. "power off" means that the BMC says so, not that it took the request.
 * Faults: `invalid` (driver_info, names the field), `refused` (credentials, privilege; with the BMC's code), `unreachable`, `timeout`.
 */
export interface PowerInterface {
  /** Checks driver_info without touching the network. @throws Fault invalid */
  validate(task: Task): void;
  readonly supported: readonly PowerTarget[];
  /** Read from the BMC, never from memory. At most some 20 s. */
  getPowerState(task: Task, options: CallOptions): Promise<PowerState>;
  /**
   * Idempotent for on and off. Returns once the state was read back; an unconfirmed request is read back and decided, never
   * repeated blindly. Ends at the signal; has its own deadline of a minute (soft: ten) otherwise.
   */
  setPowerState(task: Task, target: PowerTarget, options: CallOptions): Promise<PowerState>;
}

export interface BootDeviceSetting {
  readonly device: BootDevice;
  readonly persistent: boolean;
}

/** Boot device and what else the BMC manages. Faults as PowerInterface. Idempotent. */
export interface ManagementInterface {
  validate(task: Task): void;
  readonly supportedBootDevices: readonly BootDevice[];
  /** `bootMode` null: the firmware's own; the UEFI flag follows it. */
  setBootDevice(task: Task, setting: BootDeviceSetting, bootMode: BootMode | null, options: CallOptions): Promise<void>;
  getBootDevice(task: Task, options: CallOptions): Promise<BootDeviceSetting | null>;
}

export interface BootOrder {
  readonly target: BootTarget;
  readonly device: BootDevice;
}

/** How the machine comes to the ramdisk or to its instance. Pure: the services follow what the conductor stores. */
export interface BootInterface {
  validate(task: Task): void;
  readonly ramdisk: BootOrder;
  instance(task: Task): BootOrder;
}

/** What the node's volumes mean. `domain/volume.ts` says what is booted from them. */
export interface StorageInterface {
  /** @throws Fault invalid where an instance would have to be in two places, or on a volume that cannot be booted from */
  validate(task: Task): void;
}

/** What a step may answer; failure throws a Fault. */
export type StepOutcome =
  | { readonly kind: "done"; readonly insert?: readonly PlannedStep[] } // `insert`: steps learnt on the way, ordered into what is left
  | { readonly kind: "wait"; readonly for: WaitReason; readonly timeout: Millis }
  | { readonly kind: "hold" };

export interface Progress {
  readonly bytes: number;
  readonly total: number;
  /** Of `bytes`: those that an earlier attempt had done. */
  readonly resumed?: number;
}

/** What the conductor does for a step; the step need not know the other drivers of its node. */
export interface Machine {
  /** Stores the boot target, sets the boot device, powers the machine off and on; then wait for its agent. */
  bootRamdisk(): Promise<void>;
  /** True while an agent of this boot reported within the fast-track time. */
  agentIsAlive(): boolean;
  /** Stores the boot target and sets the boot device for the instance. */
  prepareInstanceBoot(): Promise<void>;
  setBootTarget(target: BootTarget): Promise<void>;
  power(target: PowerTarget): Promise<void>;
  /** Shown to people and sent to the site, at most once a second. */
  report(progress: Progress): void;
  /**
   * Notes how far the step is, for its next attempt: it survives the daemon's death, may be lost with the appliance's power, and
   * goes with the step's end. `reached` is the same as a number: a step that never gets beyond where it was is not begun for ever.
   */
  keep(state: JsonObject, reached: number): void;
  /** What the ramdisk found, kept for the node; the agent's inventory as it came. */
  storeInventory(inventory: JsonObject): Promise<void>;
  /** Changes to the node's own fields that a step found out (properties, boot mode, …), merged key by key. */
  learn(found: {
    readonly properties?: JsonObject;
    readonly bootMode?: BootMode;
    readonly powerState?: PowerState;
  }): Promise<void>;
  /** Ports that the machine has and the node lacks are added. */
  ensurePorts(addresses: readonly { readonly address: string; readonly pxeEnabled: boolean }[]): Promise<void>;
}

export interface StepContext extends Task, CallOptions {
  readonly args: JsonObject;
  readonly machine: Machine;
  readonly clock: Clock;
  readonly random: Random;
  /** The body of the agent's inspection call-back, for the step that waited for `inspection`. */
  readonly inspection: JsonObject | null;
  readonly attempt: number;
  /** What an earlier attempt kept with `machine.keep`. */
  readonly kept: JsonObject | null;
}

/** A step as its driver offers it. Data. */
export interface Step {
  readonly step: string;
  readonly kinds: readonly StepKind[];
  readonly priority: number;
  readonly abortable: boolean;
  /** May be begun again after the daemon died in the middle of it. */
  readonly repeatable: boolean;
  /** Absent: always. Otherwise it is left out of the plan for tasks of which it says no. */
  readonly when?: (task: Task) => boolean;
  run(context: StepContext): Promise<StepOutcome>;
}

/** Interfaces whose work is steps: deploy, inspect, raid, bios, … */
export interface StepInterface {
  /** Whether what the operation needs is there (image_source, …). @throws Fault invalid */
  validate(task: Task, kind: StepKind): void;
  readonly steps: readonly Step[];
  /** Runs a step that the ramdisk offered (PlannedStep.inBand). Absent: none are offered. */
  runInBand?(planned: PlannedStep, kind: StepKind, context: StepContext): Promise<StepOutcome>;
}

/** The interfaces of one node, resolved. An optional interface that is absent answers UnsupportedFault at the registry. */
export interface Interfaces {
  readonly power: PowerInterface;
  readonly management: ManagementInterface;
  readonly boot: BootInterface;
  readonly deploy: StepInterface;
  readonly inspect: StepInterface;
  readonly storage: StorageInterface;
}

/** Implementations by name, the preferred one first. @source Ironic drivers/hardware_type.py */
export interface HardwareType {
  readonly name: string;
  readonly power: ReadonlyMap<string, PowerInterface>;
  readonly management: ReadonlyMap<string, ManagementInterface>;
  readonly boot: ReadonlyMap<string, BootInterface>;
  readonly deploy: ReadonlyMap<string, StepInterface>;
  readonly inspect: ReadonlyMap<string, StepInterface>;
  readonly storage: ReadonlyMap<string, StorageInterface>;
  /** Keys of driver_info that it reads, with a sentence each. */
  readonly properties: Readonly<Record<string, string>>;
}

export type { InterfaceName };
