import type { NodeUuid } from "../../core/brand.ts";
import type { PowerState } from "../../domain/power-state.ts";
import { powerTargets } from "../../domain/power-state.ts";
import type { StepKind } from "../../domain/operation.ts";
import type {
  BootDeviceSetting,
  BootInterface,
  HardwareType,
  ManagementInterface,
  PowerInterface,
  Step,
  StepInterface,
} from "../interfaces.ts";
import { storageInterfaces } from "../storage.ts";

/**
 * Ironic's `fake-hardware`: machines that exist in memory only, for trying out a site's automation and for the clients'
 * own test suites. Nothing is powered and nothing is written.
 */
export function fakeHardware(): HardwareType {
  const power = new Map<NodeUuid, PowerState>();
  const bootDevices = new Map<NodeUuid, BootDeviceSetting>();
  return {
    name: "fake-hardware",
    power: new Map([["fake", fakePower(power)]]),
    management: new Map([["fake", fakeManagement(bootDevices)]]),
    boot: new Map([["fake", fakeBoot]]),
    deploy: new Map([["fake", fakeDeploy]]),
    inspect: new Map([["no-inspect", fakeInspect]]),
    storage: storageInterfaces,
    properties: {},
  };
}

function fakePower(states: Map<NodeUuid, PowerState>): PowerInterface {
  return {
    validate() {},
    supported: ["power on", "power off", "rebooting", "soft power off", "soft rebooting"],
    getPowerState: ({ node }) => Promise.resolve(states.get(node.uuid) ?? "power off"),
    setPowerState: ({ node }, target) => {
      states.set(node.uuid, powerTargets[target]);
      return Promise.resolve(powerTargets[target]);
    },
  };
}

function fakeManagement(devices: Map<NodeUuid, BootDeviceSetting>): ManagementInterface {
  return {
    validate() {},
    supportedBootDevices: ["pxe", "disk", "cdrom", "bios", "safe"],
    setBootDevice: ({ node }, setting) => {
      devices.set(node.uuid, setting);
      return Promise.resolve();
    },
    getBootDevice: ({ node }) => Promise.resolve(devices.get(node.uuid) ?? null),
  };
}

const fakeBoot: BootInterface = {
  validate() {},
  ramdisk: { target: "none", device: "pxe" },
  instance: () => ({ target: "none", device: "disk" }),
};

function nothing(step: string, priority: number, kind: StepKind): Step {
  return {
    step,
    kinds: [kind],
    priority,
    abortable: true,
    repeatable: true,
    run: () => Promise.resolve({ kind: "done" }),
  };
}

const fakeDeploy: StepInterface = {
  validate() {},
  steps: [
    nothing("deploy", 100, "deploy"),
    {
      ...nothing("boot_instance", 20, "deploy"),
      run: async ({ machine }) => {
        await machine.power("power on");
        return { kind: "done" };
      },
    },
    nothing("erase_devices_metadata", 99, "clean"),
    {
      ...nothing("tear_down", 100, "delete"),
      run: async ({ machine }) => {
        await machine.power("power off");
        return { kind: "done" };
      },
    },
  ],
};

const fakeInspect: StepInterface = { validate() {}, steps: [nothing("inspect", 100, "inspect")] };
