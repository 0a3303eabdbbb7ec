export type PowerState = "power on" | "power off" | "error";

/** What can be asked for. @source Ironic states.py */
export type PowerTarget = "power on" | "power off" | "rebooting" | "soft power off" | "soft rebooting";

/** The state a machine has once `target` was carried out. */
export const powerTargets: Readonly<Record<PowerTarget, PowerState>> = {
  "power on": "power on",
  "power off": "power off",
  rebooting: "power on",
  "soft power off": "power off",
  "soft rebooting": "power on",
};
