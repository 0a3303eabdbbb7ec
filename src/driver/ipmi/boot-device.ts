import type { IpmiBmcs } from "../../client/ipmi-bmcs.ts";
import { Fault, isFault } from "../../core/fault.ts";
import type { BootDevice, BootMode } from "../../domain/boot-device.ts";
import {
  bootFlags,
  getSystemBootFlags,
  setSystemBootOptions,
  type BootDeviceSelector,
  type BootOption,
} from "../../protocol/ipmi/command/boot-options.ts";
import { getDeviceId } from "../../protocol/ipmi/command/get-device-id.ts";
import type { BootDeviceSetting, CallOptions } from "../interfaces.ts";
import type { IpmiDriverInfo } from "./driver-info.ts";
import { mayHaveQuirk, selectorFor } from "./quirks.ts";

/** Ironic's boot devices that IPMI can name. */
export const selectors = {
  pxe: "pxe",
  disk: "disk",
  cdrom: "cdrom",
  bios: "bios-setup",
  safe: "disk-safe-mode",
} as const satisfies Partial<Record<BootDevice, BootDeviceSelector>>;

export type IpmiBootDevice = keyof typeof selectors;

const devices: ReadonlyMap<BootDeviceSelector, BootDevice> = new Map<BootDeviceSelector, BootDevice>([
  ["pxe", "pxe"],
  ["disk", "disk"],
  // What Supermicro boards take for a UEFI disk: see quirks.ts.
  ["remote-media", "disk"],
  ["cdrom", "cdrom"],
  ["bios-setup", "bios"],
  ["disk-safe-mode", "safe"],
  ["floppy", "floppy"],
]);

export function isIpmiBootDevice(device: BootDevice): device is IpmiBootDevice {
  return Object.hasOwn(selectors, device);
}

/**
 * Writes the boot flags, in the order in which ipmitool does: in progress, acknowledged, flags, commit, complete. BMCs
 * lack one or the other of these options; only the flags themselves must be taken.
 */
export async function writeBootDevice(
  bmcs: Pick<IpmiBmcs, "request">,
  info: IpmiDriverInfo,
  setting: BootDeviceSetting,
  bootMode: BootMode | null,
  options: CallOptions,
): Promise<void> {
  const { device, persistent } = setting;
  if (!isIpmiBootDevice(device)) {
    throw new Fault(
      "unsupported",
      "ipmi.boot-device",
      `boot device "${device}" is not one of ${Object.keys(selectors).join(", ")}`,
    );
  }
  const write = async (option: BootOption): Promise<void> =>
    await bmcs.request(info.target, setSystemBootOptions, option, options);
  const attempt = async (option: BootOption): Promise<void> => {
    try {
      await write(option);
    } catch (error) {
      if (!isAnswer(error)) throw error;
    }
  };

  let selector: BootDeviceSelector = selectors[device];
  if (mayHaveQuirk(device, bootMode)) {
    const { manufacturerId } = await bmcs.request(info.target, getDeviceId, undefined, options);
    selector = selectorFor(device, bootMode, manufacturerId, selector);
  }
  if (info.disableBootTimeout) {
    const keep = { onPef: false, onTimeout: true, onWatchdog: false, onReset: false, onPowerUp: false };
    await attempt({ parameter: "bootFlagValidClearing", keep });
  }
  await attempt({ parameter: "setInProgress", value: "in-progress" });
  try {
    await attempt({ parameter: "bootInfoAcknowledge", mask: 0x01, data: 0x01 });
    await write({ parameter: "bootFlags", flags: bootFlags(selector, { persistent, efi: bootMode === "uefi" }) });
    await attempt({ parameter: "setInProgress", value: "commit" });
  } finally {
    // Whoever sets options next would find them "in progress" for ever. After an abort it cannot be said, and does no harm.
    if (!options.signal.aborted) await attempt({ parameter: "setInProgress", value: "complete" });
  }
}

/** What the valid boot flags say; null where there is no override. */
export async function readBootDevice(
  bmcs: Pick<IpmiBmcs, "request">,
  info: IpmiDriverInfo,
  options: CallOptions,
): Promise<BootDeviceSetting | null> {
  const flags = await bmcs.request(info.target, getSystemBootFlags, undefined, options);
  const device = devices.get(flags.device);
  return flags.valid && device !== undefined ? { device, persistent: flags.persistent } : null;
}

/** The BMC answered that it does not have the option or does not take it now. Want of privilege is not of that kind. */
function isAnswer(error: unknown): boolean {
  return isFault(error) && error.code.startsWith("ipmi.completion.") && error.code !== "ipmi.completion.d4";
}
