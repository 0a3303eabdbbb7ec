import type { IpmiBmcs } from "../../client/ipmi-bmcs.ts";
import type { BootDevice, BootMode } from "../../domain/boot-device.ts";
import type { BootDeviceSetting, CallOptions, ManagementInterface, Task } from "../interfaces.ts";
import { readBootDevice, selectors, writeBootDevice, type IpmiBootDevice } from "./boot-device.ts";
import { parseIpmiDriverInfo } from "./driver-info.ts";

/** Management over IPMI 2.0. Ironic's name: `ipmitool`. */
export class IpmiManagement implements ManagementInterface {
  readonly supportedBootDevices: readonly BootDevice[] = Object.keys(selectors) as IpmiBootDevice[];
  readonly #bmcs: Pick<IpmiBmcs, "request">;

  constructor(parts: { readonly bmcs: Pick<IpmiBmcs, "request"> }) {
    this.#bmcs = parts.bmcs;
  }

  validate(task: Task): void {
    parseIpmiDriverInfo(task.node.driverInfo);
  }

  async setBootDevice(
    task: Task,
    setting: BootDeviceSetting,
    bootMode: BootMode | null,
    options: CallOptions,
  ): Promise<void> {
    const info = parseIpmiDriverInfo(task.node.driverInfo);
    await writeBootDevice(this.#bmcs, info, setting, bootMode, options);
  }

  async getBootDevice(task: Task, options: CallOptions): Promise<BootDeviceSetting | null> {
    return await readBootDevice(this.#bmcs, parseIpmiDriverInfo(task.node.driverInfo), options);
  }
}
