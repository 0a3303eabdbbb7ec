import type { HardwareType } from "../interfaces.ts";
import { ipmiProperties } from "./driver-info.ts";
import { IpmiManagement } from "./management.ts";
import { IpmiPower, type IpmiPowerParts } from "./power.ts";

/**
 * Hardware type `ipmi`: any machine whose BMC speaks IPMI 2.0 over LAN. Boot, deploy, inspect and storage go over the network and
 * the ramdisk, the same for every hardware type, and are given.
 * @source Ironic drivers/ipmi.py
 */
export function ipmiHardwareType(
  parts: IpmiPowerParts & Pick<HardwareType, "boot" | "deploy" | "inspect" | "storage">,
): HardwareType {
  const { boot, deploy, inspect, storage } = parts;
  return {
    name: "ipmi",
    // Ironic's name of these implementations, though no ipmitool is run.
    power: new Map([["ipmitool", new IpmiPower(parts)]]),
    management: new Map([["ipmitool", new IpmiManagement(parts)]]),
    boot,
    deploy,
    inspect,
    storage,
    properties: ipmiProperties,
  };
}
