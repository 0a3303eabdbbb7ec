import { ByteReader } from "../../../core/byte-reader.ts";
import { ByteWriter } from "../../../core/byte-writer.ts";
import { assertNever } from "../../../core/fault.ts";
import { netFns, type IpmiCommand } from "../command.ts";
import { wrong } from "../rmcp.ts";

/** @source IPMI 2.0 table 28-14, parameter selectors */
export const bootParameters = {
  setInProgress: 0,
  bootFlagValidClearing: 3,
  bootInfoAcknowledge: 4,
  bootFlags: 5,
} as const;

/** Where the firmware is to boot from. @source IPMI 2.0 table 28-14, parameter 5 data 2 bits 5:2 */
export const bootDevices = {
  none: 0x0,
  pxe: 0x1,
  disk: 0x2,
  "disk-safe-mode": 0x3,
  "diagnostic-partition": 0x4,
  cdrom: 0x5,
  "bios-setup": 0x6,
  "remote-floppy": 0x7,
  "remote-cdrom": 0x8,
  "remote-media": 0x9,
  "remote-disk": 0xb,
  floppy: 0xf,
} as const;

export type BootDeviceSelector = keyof typeof bootDevices;

const deviceNames: ReadonlyMap<number, BootDeviceSelector> = new Map(
  (Object.keys(bootDevices) as BootDeviceSelector[]).map((name) => [bootDevices[name], name]),
);

/** Parameter 5. Bits that this type does not name are kept in `other`, so that nothing is lost by decoding. */
export interface BootFlags {
  readonly valid: boolean;
  /** For all boots from now on, not for the next alone. */
  readonly persistent: boolean;
  /** The device names an EFI boot. */
  readonly efi: boolean;
  readonly device: BootDeviceSelector;
  readonly clearCmos: boolean;
  readonly lockKeyboard: boolean;
  /** Which of several devices of the kind; 0: any. */
  readonly instance: number;
  readonly other: {
    readonly data1: number;
    readonly data2: number;
    readonly data3: number;
    readonly data4: number;
    readonly data5: number;
  };
}

const nothingElse = { data1: 0, data2: 0, data3: 0, data4: 0, data5: 0 };

export function bootFlags(
  device: BootDeviceSelector,
  how: { readonly persistent: boolean; readonly efi: boolean },
): BootFlags {
  return { valid: true, ...how, device, clearCmos: false, lockKeyboard: false, instance: 0, other: nothingElse };
}

/*
 *          7       6            5       4       3       2       1       0
 * data 1 | valid | persistent | EFI   | reserved                            |
 * data 2 | clear | lock       | device selector               | screen | reset button
 *        | CMOS  | keyboard   | (4 bits)                      | blank  | lock
 * data 3 | power button, verbosity, password bypass, sleep, console redirection
 * data 4 | mux and shared-mode overrides
 * data 5 | reserved            | device instance selector
 */
export function encodeBootFlags(flags: BootFlags): Uint8Array {
  return new ByteWriter(5)
    .u8((flags.valid ? 0x80 : 0) | (flags.persistent ? 0x40 : 0) | (flags.efi ? 0x20 : 0) | flags.other.data1)
    .u8(
      (flags.clearCmos ? 0x80 : 0) |
        (flags.lockKeyboard ? 0x40 : 0) |
        (bootDevices[flags.device] << 2) |
        flags.other.data2,
    )
    .u8(flags.other.data3)
    .u8(flags.other.data4)
    .u8(flags.instance | flags.other.data5)
    .toBytes();
}

export function decodeBootFlags(reader: ByteReader): BootFlags {
  const data1 = reader.u8("bootFlags.data1");
  const data2 = reader.u8("bootFlags.data2");
  const data3 = reader.u8("bootFlags.data3");
  const data4 = reader.u8("bootFlags.data4");
  // The fifth byte came with IPMI 2.0; some BMCs send four.
  const data5 = reader.remaining > 0 ? reader.u8("bootFlags.data5") : 0;
  const selector = (data2 >> 2) & 0x0f;
  const device = deviceNames.get(selector);
  if (device === undefined) throw wrong("bootFlags.device", 1, `0x${selector.toString(16)} is reserved`);
  return {
    valid: (data1 & 0x80) !== 0,
    persistent: (data1 & 0x40) !== 0,
    efi: (data1 & 0x20) !== 0,
    device,
    clearCmos: (data2 & 0x80) !== 0,
    lockKeyboard: (data2 & 0x40) !== 0,
    instance: data5 & 0x1f,
    other: { data1: data1 & 0x1f, data2: data2 & 0x03, data3, data4, data5: data5 & 0xe0 },
  };
}

export type SetInProgress = "complete" | "in-progress" | "commit";

const setInProgressCodes = { complete: 0, "in-progress": 1, commit: 2 } as const satisfies Record<
  SetInProgress,
  number
>;

/** When the BMC forgets the valid bit by itself; `true`: it does not. @source IPMI 2.0 table 28-14, parameter 3 */
export interface BootFlagValidKept {
  readonly onPef: boolean;
  /** The 60 seconds within which a restart must follow the setting of the flags. */
  readonly onTimeout: boolean;
  readonly onWatchdog: boolean;
  readonly onReset: boolean;
  readonly onPowerUp: boolean;
}

export type BootOption =
  | { readonly parameter: "setInProgress"; readonly value: SetInProgress }
  | { readonly parameter: "bootFlagValidClearing"; readonly keep: BootFlagValidKept }
  /** Says that the BIOS has handled the boot information: ends what an interrupted earlier boot left open. */
  | { readonly parameter: "bootInfoAcknowledge"; readonly mask: number; readonly data: number }
  | { readonly parameter: "bootFlags"; readonly flags: BootFlags }
  /** Parameter data as some model wants it, where the specification's form does not work. */
  | { readonly parameter: "raw"; readonly selector: number; readonly data: Uint8Array };

function encodeBootOption(option: BootOption): Uint8Array {
  switch (option.parameter) {
    case "setInProgress":
      return new ByteWriter(2).u8(bootParameters.setInProgress).u8(setInProgressCodes[option.value]).toBytes();
    case "bootFlagValidClearing": {
      const { onPef, onTimeout, onWatchdog, onReset, onPowerUp } = option.keep;
      const bits = [onPowerUp, onReset, onWatchdog, onTimeout, onPef].reduce(
        (sum, on, bit) => sum | (on ? 1 << bit : 0),
        0,
      );
      return new ByteWriter(2).u8(bootParameters.bootFlagValidClearing).u8(bits).toBytes();
    }
    case "bootInfoAcknowledge":
      return new ByteWriter(3).u8(bootParameters.bootInfoAcknowledge).u8(option.mask).u8(option.data).toBytes();
    case "bootFlags":
      return new ByteWriter(6).u8(bootParameters.bootFlags).bytes(encodeBootFlags(option.flags)).toBytes();
    case "raw":
      return new ByteWriter(1 + option.data.length).u8(option.selector).bytes(option.data).toBytes();
    default:
      return assertNever(option);
  }
}

export const setSystemBootOptions: IpmiCommand<BootOption, void> = {
  name: "Set System Boot Options",
  netFn: netFns.chassis,
  command: 0x08,
  effect: "write",
  privilege: "OPERATOR",
  source: "IPMI 2.0 §28.12, table 28-12",
  encode: encodeBootOption,
  decode: () => undefined,
  completions: {
    0x80: { kind: "unsupported", sentence: "the BMC does not have this boot option" },
    0x81: { kind: "conflict", sentence: "somebody else is setting boot options" },
    0x82: { kind: "refused", sentence: "the boot option is read-only" },
  },
};

const optionMissing = { 0x80: { kind: "unsupported", sentence: "the BMC does not have this boot option" } } as const;

/** Parameter 5 of the boot options. */
export const getSystemBootFlags: IpmiCommand<void, BootFlags> = {
  name: "Get System Boot Options (boot flags)",
  netFn: netFns.chassis,
  command: 0x09,
  effect: "read",
  privilege: "OPERATOR",
  source: "IPMI 2.0 §28.13, table 28-13",
  encode: () => new ByteWriter(3).u8(bootParameters.bootFlags).u8(0).u8(0).toBytes(),
  decode(data) {
    data.skip("parameterVersion", 1);
    const selector = data.u8("parameterSelector") & 0x7f;
    if (selector !== bootParameters.bootFlags)
      throw wrong("parameterSelector", 1, `is ${selector}, not ${bootParameters.bootFlags}`);
    return decodeBootFlags(data);
  },
  completions: optionMissing,
};
