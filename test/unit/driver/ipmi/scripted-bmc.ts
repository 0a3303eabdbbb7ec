import type { IpmiBmcs } from "../../../../src/client/ipmi-bmcs.ts";
import { throwIfAborted, type FakeClock } from "../../../../src/core/clock.ts";
import { Fault } from "../../../../src/core/fault.ts";
import { millis } from "../../../../src/core/units.ts";
import { bootFlags, type BootFlags, type BootOption } from "../../../../src/protocol/ipmi/command/boot-options.ts";
import type { ChassisAction } from "../../../../src/protocol/ipmi/command/chassis-control.ts";
import type { IpmiCommand } from "../../../../src/protocol/ipmi/command.ts";
import { completionFault } from "../../../../src/protocol/ipmi/completion-code.ts";
import { UNCONFIRMED } from "../../../../src/protocol/ipmi/request-exchange.ts";

export const unconfirmed = (): Fault => new Fault("timeout", UNCONFIRMED, "the BMC did not confirm it");
export const silent = (): Fault => new Fault("timeout", "ipmi.no-answer", "the BMC did not answer");
export const refusal = (code: number): Fault => completionFault(code, "a command");

/**
 * A BMC behind the driver, in the clock's time: a request takes 10 ms, a change of power `delay`. The scripts may throw
 * instead of an answer; `lost` says whether a thrown action was carried out all the same.
 */
export class ScriptedBmc implements Pick<IpmiBmcs, "request"> {
  powerOn = false;
  delay = 500;
  manufacturerId = 4753;
  flags: BootFlags = bootFlags("none", { persistent: false, efi: false });
  readonly actions: ChassisAction[] = [];
  readonly options: BootOption[] = [];
  /** Called for each power action with its number, from 1. */
  onAction: (
    count: number,
    action: ChassisAction,
  ) => { readonly fault: Fault; readonly carriedOut: boolean } | undefined = () => undefined;
  onRead: (count: number) => Fault | undefined = () => undefined;
  onOption: (option: BootOption) => Fault | undefined = () => undefined;
  reads = 0;
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async request<Request, Response>(
    _target: unknown,
    command: IpmiCommand<Request, Response>,
    request: Request,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Response> {
    await this.#clock.sleep(millis(10), signal);
    throwIfAborted(signal);
    return this.#answer(command.name, request) as Response;
  }

  #answer(name: string, request: unknown): unknown {
    switch (name) {
      case "Get Chassis Status": {
        this.reads += 1;
        const fault = this.onRead(this.reads);
        if (fault !== undefined) throw fault;
        return { powerOn: this.powerOn };
      }
      case "Chassis Control": {
        const { action } = request as { readonly action: ChassisAction };
        this.actions.push(action);
        const outcome = this.onAction(this.actions.length, action);
        if (outcome?.carriedOut !== false) this.#change(action);
        if (outcome !== undefined) throw outcome.fault;
        return undefined;
      }
      case "Get Device ID":
        return { manufacturerId: this.manufacturerId };
      case "Set System Boot Options": {
        const option = request as BootOption;
        const fault = this.onOption(option);
        if (fault !== undefined) throw fault;
        this.options.push(option);
        if (option.parameter === "bootFlags") this.flags = option.flags;
        return undefined;
      }
      case "Get System Boot Options (boot flags)":
        return this.flags;
      default:
        throw new Error(name);
    }
  }

  #change(action: ChassisAction): void {
    this.#clock.after(millis(this.delay), () => {
      this.powerOn = action === "power-up";
    });
  }
}
