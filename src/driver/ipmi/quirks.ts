import { bootDevices, type BootDeviceSelector } from "../../protocol/ipmi/command/boot-options.ts";
import type { BootDevice, BootMode } from "../../domain/boot-device.ts";

/** How a model departs from the specification, and what is done about it. */
export interface BootDeviceQuirk {
  /** IANA enterprise numbers, as Get Device ID tells them. */
  readonly appliesTo: {
    readonly manufacturerIds: readonly number[];
    readonly device: BootDevice;
    readonly bootMode: BootMode;
  };
  readonly behaviour: string;
  readonly selector: BootDeviceSelector;
  readonly source: string;
}

export const bootDeviceQuirks: readonly BootDeviceQuirk[] = [
  {
    appliesTo: { manufacturerIds: [10876, 47488], device: "disk", bootMode: "uefi" },
    behaviour: `Supermicro boards boot from a UEFI disk only when selector ${bootDevices["remote-media"]} is set instead of 2`,
    selector: "remote-media",
    source: "Ironic drivers/modules/ipmitool.py, set_boot_device; Supermicro's SMCIPMITool sends the same byte 24h",
  },
];

/** The specification's selector, or the one that the model wants instead. */
export function selectorFor(
  device: BootDevice,
  bootMode: BootMode | null,
  manufacturerId: number,
  regular: BootDeviceSelector,
): BootDeviceSelector {
  const quirk = bootDeviceQuirks.find(
    ({ appliesTo }) =>
      appliesTo.device === device &&
      appliesTo.bootMode === bootMode &&
      appliesTo.manufacturerIds.includes(manufacturerId),
  );
  return quirk?.selector ?? regular;
}

/** Whether any quirk could matter, so that the manufacturer has to be asked. */
export function mayHaveQuirk(device: BootDevice, bootMode: BootMode | null): boolean {
  return bootDeviceQuirks.some(({ appliesTo }) => appliesTo.device === device && appliesTo.bootMode === bootMode);
}
