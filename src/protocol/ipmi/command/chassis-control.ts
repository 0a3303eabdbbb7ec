import { ByteWriter } from "../../../core/byte-writer.ts";
import { netFns, type IpmiCommand } from "../command.ts";

/** @source IPMI 2.0 table 28-4 */
export const chassisActions = {
  /** Off at once, without the operating system's help (S4/S5). */
  "power-down": 0x00,
  "power-up": 0x01,
  /** Off for at least a second, then on. Not for a machine that is off. */
  "power-cycle": 0x02,
  "hard-reset": 0x03,
  /** A pulse on the diagnostic interrupt: an NMI. */
  "diagnostic-interrupt": 0x04,
  /** Asks the operating system to shut down, as a short press of the button does (ACPI). */
  "soft-shutdown": 0x05,
} as const;

export type ChassisAction = keyof typeof chassisActions;

/** The answer says that the BMC began, not that the machine has arrived at its state: read the status back. */
export const chassisControl: IpmiCommand<{ readonly action: ChassisAction }, void> = {
  name: "Chassis Control",
  netFn: netFns.chassis,
  command: 0x02,
  effect: "action",
  privilege: "OPERATOR",
  source: "IPMI 2.0 §28.3, table 28-4",
  encode: ({ action }) => new ByteWriter(1).u8(chassisActions[action]).toBytes(),
  decode: () => undefined,
};
