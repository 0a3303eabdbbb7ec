import { IpmiBmcs } from "../../src/client/ipmi-bmcs.ts";
import { SystemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { SystemRandom } from "../../src/core/random.ts";
import type { BootDevice } from "../../src/domain/boot-device.ts";
import { IpmiManagement } from "../../src/driver/ipmi/management.ts";
import { IpmiPower } from "../../src/driver/ipmi/power.ts";
import { driverContract, type DriverRig } from "../conformance/driver-contract.ts";
import { taskWith } from "../unit/driver/ipmi/node-of.ts";
import { IpmiResponder } from "./ipmi-responder.ts";
import { IpmiSim } from "./ipmi-sim.ts";

/** A port of loopback that nobody uses. */
const CLOSED_PORT = 1;

function rigParts(port: number): Omit<
  DriverRig,
  "machineIsOn" | "setMachine" | "powerChanges" | "remembersBootDevice"
> & {
  readonly bmcs: IpmiBmcs;
} {
  const clock = new SystemClock();
  const bmcs = new IpmiBmcs({ clock, random: new SystemRandom() });
  const info: JsonObject = {
    ipmi_address: "127.0.0.1",
    ipmi_port: port,
    ipmi_username: "admin",
    ipmi_password: "secret",
  };
  return {
    bmcs,
    power: new IpmiPower({ bmcs, clock }),
    management: new IpmiManagement({ bmcs }),
    task: taskWith(info),
    invalidTask: { task: taskWith({ ...info, ipmi_priv_level: "ROOT" }), field: "ipmi_priv_level" },
    refusedTask: taskWith({ ...info, ipmi_password: "quite-another" }),
    unreachableTask: taskWith({ ...info, ipmi_port: CLOSED_PORT }),
    [Symbol.asyncDispose]: async () => await bmcs[Symbol.asyncDispose](),
  };
}

const CHASSIS_WORDS: Readonly<Record<string, BootDevice>> = {
  pxe: "pxe",
  default: "disk",
  cdrom: "cdrom",
  bios: "bios",
};

driverContract("ipmi on ipmi_sim", async () => {
  const sim = await IpmiSim.start();
  const parts = rigParts(sim.port);
  return {
    ...parts,
    machineIsOn: () => sim.powerOn,
    setMachine: (on) => sim.setPower(on),
    powerChanges: () => sim.chassisCalls.filter((call) => /^set (power|shutdown|reset)/.test(call)).length,
    // ipmi_sim hands its chassis the device alone, and answers boot flags whose valid bit is never set.
    bootDevice: () => CHASSIS_WORDS[sim.bootDevice ?? ""],
    remembersBootDevice: false,
    refusedBootDevices: ["safe"],
    [Symbol.asyncDispose]: async () => {
      await parts[Symbol.asyncDispose]();
      await sim[Symbol.asyncDispose]();
    },
  };
});

driverContract("ipmi on the responder of the tests, suite 17", async () => {
  const bmc = await IpmiResponder.start({
    users: [{ name: "admin", password: "secret", privilege: 4 }],
    suites: [17],
    powerDelayMs: 60,
  });
  const parts = rigParts(bmc.port);
  return {
    ...parts,
    machineIsOn: () => bmc.powerOn,
    setMachine: (on) => (bmc.powerOn = on),
    powerChanges: () => bmc.count(0, 2),
    remembersBootDevice: true,
    [Symbol.asyncDispose]: async () => {
      await parts[Symbol.asyncDispose]();
      await bmc[Symbol.asyncDispose]();
    },
  };
});
