import { netFns, noBytes, type IpmiCommand } from "../command.ts";

/** @source IPMI 2.0 table 28-3, byte 2 bits 6:5 */
const restorePolicies = ["always-off", "previous", "always-on", "unknown"] as const;

export interface ChassisStatus {
  readonly powerOn: boolean;
  readonly powerOverload: boolean;
  readonly interlock: boolean;
  readonly powerFault: boolean;
  readonly powerControlFault: boolean;
  readonly restorePolicy: (typeof restorePolicies)[number];
  readonly lastEvent: {
    readonly acFailed: boolean;
    readonly overload: boolean;
    readonly interlock: boolean;
    readonly fault: boolean;
    readonly onByCommand: boolean;
  };
  readonly intrusion: boolean;
  readonly frontPanelLockout: boolean;
  readonly driveFault: boolean;
  readonly coolingFault: boolean;
  /** Undefined where the BMC does not say. */
  readonly identify: "off" | "temporary" | "indefinite" | undefined;
}

const identifyStates = ["off", "temporary", "indefinite", undefined] as const;

export const getChassisStatus: IpmiCommand<void, ChassisStatus> = {
  name: "Get Chassis Status",
  netFn: netFns.chassis,
  command: 0x01,
  effect: "read",
  privilege: "USER",
  source: "IPMI 2.0 §28.2, table 28-3",
  encode: () => noBytes,
  decode(data) {
    const power = data.u8("powerState");
    const last = data.u8("lastPowerEvent");
    const misc = data.u8("miscChassisState");
    return {
      powerOn: (power & 0x01) !== 0,
      powerOverload: (power & 0x02) !== 0,
      interlock: (power & 0x04) !== 0,
      powerFault: (power & 0x08) !== 0,
      powerControlFault: (power & 0x10) !== 0,
      restorePolicy: restorePolicies[(power >> 5) & 3] ?? "unknown",
      lastEvent: {
        acFailed: (last & 0x01) !== 0,
        overload: (last & 0x02) !== 0,
        interlock: (last & 0x04) !== 0,
        fault: (last & 0x08) !== 0,
        onByCommand: (last & 0x10) !== 0,
      },
      intrusion: (misc & 0x01) !== 0,
      frontPanelLockout: (misc & 0x02) !== 0,
      driveFault: (misc & 0x04) !== 0,
      coolingFault: (misc & 0x08) !== 0,
      identify: (misc & 0x40) === 0 ? undefined : identifyStates[(misc >> 4) & 3],
    };
  },
};
