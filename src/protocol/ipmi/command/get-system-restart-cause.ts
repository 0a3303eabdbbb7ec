import { netFns, noBytes, type IpmiCommand } from "../command.ts";

/** @source IPMI 2.0 table 28-11 */
const restartCauses = [
  "unknown",
  "chassis control",
  "reset button",
  "power button",
  "watchdog",
  "OEM",
  "power restored, always-on policy",
  "power restored, previous-state policy",
  "platform event filter reset",
  "platform event filter power cycle",
  "soft reset",
  "real-time clock",
] as const;

export interface RestartCause {
  readonly code: number;
  readonly cause: (typeof restartCauses)[number];
  readonly channel: number;
}

export const getSystemRestartCause: IpmiCommand<void, RestartCause> = {
  name: "Get System Restart Cause",
  netFn: netFns.chassis,
  command: 0x07,
  effect: "read",
  privilege: "USER",
  source: "IPMI 2.0 §28.11, table 28-11",
  encode: () => noBytes,
  decode(data) {
    const code = data.u8("restartCause") & 0x0f;
    return { code, cause: restartCauses[code] ?? "unknown", channel: data.u8("channel") };
  },
};
