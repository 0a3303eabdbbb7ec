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
const SETTLE: Millis = seconds(10);
/** A power supply needs a moment between off and on. @source IPMI 2.0 §28.3: a power cycle stays off for at least a second */
const OFF_PAUSE: Millis = seconds(1);

const POLL_FIRST: Millis = millis(250);
const POLL_LONGEST: Millis = seconds(5);

/** What brings a machine into a state. */
const actions = {
  on: { action: "power-up", reaches: "power on" },
  off: { action: "power-down", reaches: "power off" },
  "soft off": { action: "soft-shutdown", reaches: "power off" },
} as const satisfies Record<string, { readonly action: ChassisAction; readonly reaches: PowerState }>;

/** Which device leads to what the boot services will give: for BMCs that have to be told at each power-on. */
const deviceFor: Readonly<Record<BootTarget, BootDevice | undefined>> = { none: undefined, ramdisk: "pxe", disk: "disk" };

/** Power over IPMI 2.0. Ironic's name: `ipmitool`. */
export class IpmiPower implements PowerInterface {
  readonly supported: readonly PowerTarget[] = Object.keys(powerTargets) as PowerTarget[];
  readonly #bmcs: Pick<IpmiBmcs, "request">;
  readonly #clock: Clock;

  constructor(parts: { readonly bmcs: Pick<IpmiBmcs, "request">; readonly clock: Clock }) {
    this.#bmcs = parts.bmcs;
    this.#clock = parts.clock;
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
        return await this.#reach(info, actions.off, HARD_LIMIT, options);
      case "soft power off":
        return await this.#reach(info, actions["soft off"], SOFT_LIMIT, options);
      case "rebooting":
        return await this.#offAndOn(task, info, actions.off, HARD_LIMIT, options);
      case "soft rebooting":
        return await this.#offAndOn(task, info, actions["soft off"], SOFT_LIMIT, options);
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
    if (device !== undefined) await writeBootDevice(this.#bmcs, info, { device, persistent: false }, task.node.bootMode, options);
    return await this.#reach(info, actions.on, HARD_LIMIT, options);
  }

  async #read(info: IpmiDriverInfo, options: CallOptions): Promise<PowerState> {
    const status = await this.#bmcs.request(info.target, getChassisStatus, undefined, options);
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
    let lastFault: Fault | undefined;
    try {
      for (;;) {
        const confirmed = await this.#ask(info, wanted.action, within);
        const settled = confirmed ? Number.POSITIVE_INFINITY : this.#clock.now() + SETTLE;
        let pause: number = POLL_FIRST;
        while (this.#clock.now() < settled) {
          try {
            if ((await this.#read(info, within)) === wanted.reaches) return wanted.reaches;
            lastFault = undefined;
          } catch (error) {
            // BMCs fall silent for a while when the power changes; what ends the waiting is the deadline.
            lastFault = toFault(error);
            if (!mayPass(lastFault)) throw error;
          }
          await this.#clock.sleep(millis(Math.min(pause, POLL_LONGEST)), deadline.signal);
          pause *= 1.5;
        }
        // Not confirmed, and still as before: it was not carried out. Reading may have failed all along; then asking again
        // would be blind.
        if (lastFault !== undefined) throw lastFault;
      }
    } catch (error) {
      if (options.signal.aborted || !deadline.signal.aborted) throw error;
      throw notReached(wanted.reaches, limit, lastFault);
    }
  }

  /** Whether the BMC confirmed the request. */
  async #ask(info: IpmiDriverInfo, action: ChassisAction, options: CallOptions): Promise<boolean> {
    try {
      await this.#bmcs.request(info.target, chassisControl, { action }, options);
      return true;
    } catch (error) {
      // C3h: the BMC gave up waiting for itself, so the outcome is as open as without an answer.
      // D5h: "not in the present state", as some BMCs answer when the machine is in the wanted state already.
      if (isFault(error) && [UNCONFIRMED, "ipmi.completion.c3", "ipmi.completion.d5"].includes(error.code)) {
        options.log.info("bmc.retry", { peer: info.target.host, code: error.code, reason: error.message });
        return false;
      }
      throw error;
    }
  }
}

/** Trouble of the way to the BMC, as opposed to a refusal. */
function mayPass(fault: Fault): boolean {
  return fault.kind === "timeout" || fault.kind === "unreachable" || fault.kind === "busy";
}

function notReached(state: PowerState, limit: Millis, lastFault: Fault | undefined): Fault {
  const why =
    lastFault === undefined ? "the BMC reports the old state; look at the machine's console and the BMC's event log" : lastFault.message;
  return new Fault("timeout", "power.not-reached", `the machine did not reach "${state}" within ${limit / 1000} s: ${why}`, {
    cause: lastFault,
    detail: { state, limitSeconds: limit / 1000 },
  });
}
