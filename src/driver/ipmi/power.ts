import type { IpmiBmcs } from "../../client/ipmi-bmcs.ts";
import type { Clock } from "../../core/clock.ts";
import { assertNever, Fault, isFault, toFault } from "../../core/fault.ts";
import { millis, seconds, type Millis } from "../../core/units.ts";
import type { BootDevice, BootTarget } from "../../domain/boot-device.ts";
import { powerTargets, type PowerState, type PowerTarget } from "../../domain/power-state.ts";
import { chassisControl, type ChassisAction } from "../../protocol/ipmi/command/chassis-control.ts";
import { getChassisStatus } from "../../protocol/ipmi/command/get-chassis-status.ts";
import { UNCONFIRMED } from "../../protocol/ipmi/request-exchange.ts";
import type { CallOptions, PowerInterface, Task } from "../interfaces.ts";
import { writeBootDevice } from "./boot-device.ts";
import { parseIpmiDriverInfo, type IpmiDriverInfo } from "./driver-info.ts";

/** @source Ironic power_state_change_timeout */
const HARD_LIMIT: Millis = seconds(60);
/** @source Ironic soft_power_off_timeout */
const SOFT_LIMIT: Millis = seconds(600);
/** After an unconfirmed request: if the state has not changed by then, the request never arrived, and is sent again. */
const SETTLE: Millis = seconds(5);
/** A power supply needs a moment between off and on. @source IPMI 2.0 §28.3: a power cycle stays off for at least a second */
const OFF_PAUSE: Millis = seconds(1);

/** A reading may need a lost session to be noticed and another to be opened. */
const READ_LIMIT: Millis = seconds(20);

const POLL_FIRST: Millis = millis(250);
const POLL_GROWTH = 1.5;
const POLL_LONGEST: Millis = seconds(5);

/** What brings a machine into a state. */
const actions = {
  on: { action: "power-up", reaches: "power on" },
  off: { action: "power-down", reaches: "power off" },
  "soft off": { action: "soft-shutdown", reaches: "power off" },
} as const satisfies Record<string, { readonly action: ChassisAction; readonly reaches: PowerState }>;

/** Which device leads to what the boot services will give: for BMCs that have to be told at each power-on. */
const deviceFor: Readonly<Record<BootTarget, BootDevice | undefined>> = {
  none: undefined,
  ramdisk: "pxe",
  disk: "disk",
  network: "pxe",
  volume: "pxe",
};

/** How long a machine may take to show the state that was asked for: switched, or asked to shut down by itself. */
export interface PowerLimits {
  readonly hard: Millis;
  readonly soft: Millis;
}

export interface IpmiPowerParts {
  readonly bmcs: Pick<IpmiBmcs, "request">;
  readonly clock: Clock;
  /** A minute and ten, if not given. */
  readonly powerLimits?: PowerLimits;
}

/** Power over IPMI 2.0. Ironic's name: `ipmitool`. */
export class IpmiPower implements PowerInterface {
  readonly supported: readonly PowerTarget[] = Object.keys(powerTargets) as PowerTarget[];
  readonly #bmcs: Pick<IpmiBmcs, "request">;
  readonly #clock: Clock;
  readonly #limits: PowerLimits;

  constructor(parts: IpmiPowerParts) {
    this.#bmcs = parts.bmcs;
    this.#clock = parts.clock;
    this.#limits = parts.powerLimits ?? { hard: HARD_LIMIT, soft: SOFT_LIMIT };
  }

  validate(task: Task): void {
    parseIpmiDriverInfo(task.node.driverInfo);
  }

  async getPowerState(task: Task, options: CallOptions): Promise<PowerState> {
    return await this.#read(parseIpmiDriverInfo(task.node.driverInfo), options);
  }

  async setPowerState(task: Task, target: PowerTarget, options: CallOptions): Promise<PowerState> {
    const info = parseIpmiDriverInfo(task.node.driverInfo);
    switch (target) {
      case "power on":
        return await this.#turnOn(task, info, options);
      case "power off":
        return await this.#reach(info, actions.off, this.#limits.hard, options);
      case "soft power off":
        return await this.#reach(info, actions["soft off"], this.#limits.soft, options);
      case "rebooting":
        return await this.#offAndOn(task, info, actions.off, this.#limits.hard, options);
      case "soft rebooting":
        return await this.#offAndOn(task, info, actions["soft off"], this.#limits.soft, options);
      default:
        return assertNever(target);
    }
  }

  /** Off, seen off, on, seen on. IPMI's own cycle does nothing to a machine that is off, and nothing shows that it happened. */
  async #offAndOn(
    task: Task,
    info: IpmiDriverInfo,
    off: (typeof actions)["off" | "soft off"],
    limit: Millis,
    options: CallOptions,
  ): Promise<PowerState> {
    if ((await this.#read(info, options)) !== "power off") {
      await this.#reach(info, off, limit, options);
      await this.#clock.sleep(OFF_PAUSE, options.signal);
    }
    return await this.#turnOn(task, info, options);
  }

  async #turnOn(task: Task, info: IpmiDriverInfo, options: CallOptions): Promise<PowerState> {
    const device = info.forceBootDevice ? deviceFor[task.node.bootTarget] : undefined;
    if (device !== undefined)
      await writeBootDevice(this.#bmcs, info, { device, persistent: false }, task.node.bootMode, options);
    return await this.#reach(info, actions.on, this.#limits.hard, options);
  }

  async #read(info: IpmiDriverInfo, options: CallOptions): Promise<PowerState> {
    using deadline = this.#clock.deadline(READ_LIMIT, options.signal);
    const status = await this.#bmcs.request(info.target, getChassisStatus, undefined, {
      ...options,
      signal: deadline.signal,
    });
    return status.powerOn ? "power on" : "power off";
  }

  /** Asks for a state, unless the machine is in it, and reads it back until it is there. */
  async #reach(
    info: IpmiDriverInfo,
    wanted: { readonly action: ChassisAction; readonly reaches: PowerState },
    limit: Millis,
    options: CallOptions,
  ): Promise<PowerState> {
    if ((await this.#read(info, options)) === wanted.reaches) return wanted.reaches;
    using deadline = this.#clock.deadline(limit, options.signal);
    const within = { ...options, signal: deadline.signal };
    let trouble: Fault | undefined;
    try {
      for (;;) {
        trouble = await this.#ask(info, wanted.action, within);
        const settled = trouble === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() + SETTLE;
        for (let pause: number = POLL_FIRST; ; pause = Math.min(pause * POLL_GROWTH, POLL_LONGEST)) {
          const seen = await this.#look(info, within);
          if (seen === wanted.reaches) return seen;
          if (isFault(seen)) trouble = seen;
          // Not confirmed, and by now read to be as before: it was not carried out, and asking again is not blind.
          else if (this.#clock.now() >= settled) break;
          await this.#clock.sleep(millis(pause), deadline.signal);
        }
      }
    } catch (error) {
      if (options.signal.aborted || !deadline.signal.aborted) throw error;
      throw notReached(wanted.reaches, limit, trouble);
    }
  }

  /** The state, or what kept it from being read: BMCs fall silent for a while when the power changes. */
  async #look(info: IpmiDriverInfo, options: CallOptions): Promise<PowerState | Fault> {
    try {
      return await this.#read(info, options);
    } catch (error) {
      const fault = toFault(error);
      const mayPass = fault.kind === "timeout" || fault.kind === "unreachable" || fault.kind === "busy";
      if (options.signal.aborted || !mayPass) throw fault;
      return fault;
    }
  }

  /** Asks once. What it returns is why it is not known whether the request was carried out; a refusal is thrown. */
  async #ask(info: IpmiDriverInfo, action: ChassisAction, options: CallOptions): Promise<Fault | undefined> {
    try {
      await this.#bmcs.request(info.target, chassisControl, { action }, options);
      return undefined;
    } catch (error) {
      if (!isFault(error) || !OPEN_OUTCOMES.includes(error.code)) throw error;
      options.log.info("bmc.retry", { peer: info.target.host, code: error.code, reason: error.message });
      return error;
    }
  }
}

/**
 * Answers, or their absence, after which only reading tells what happened. C3h: the BMC gave up waiting for itself. D5h:
 * "not in the present state", as some BMCs answer when the machine already is where it shall be.
 */
const OPEN_OUTCOMES: readonly string[] = [UNCONFIRMED, "ipmi.completion.c3", "ipmi.completion.d5"];

function notReached(state: PowerState, limit: Millis, trouble: Fault | undefined): Fault {
  const why =
    trouble?.message ??
    "the BMC took the request and still reports the old state; look at the console and the BMC's event log";
  return new Fault(
    "timeout",
    "power.not-reached",
    `the machine did not reach "${state}" within ${limit / 1000} s: ${why}`,
    {
      cause: trouble,
      detail: { state, limitSeconds: limit / 1000 },
    },
  );
}
