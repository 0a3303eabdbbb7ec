import { Fault } from "../core/fault.ts";
import {
  isJsonObject,
  numberProperty,
  objectProperty,
  property,
  stringProperty,
  type JsonObject,
} from "../core/json.ts";
import type { Millis } from "../core/units.ts";
import type { BootMode } from "../domain/boot-device.ts";
import type { Step, StepContext, StepInterface, StepOutcome } from "./interfaces.ts";

export interface AgentInspectOptions {
  readonly waitTimeout: Millis;
  /** Leaves the ramdisk running, so that the next operation need not boot it again. */
  readonly fastTrack: boolean;
}

/** In-band inspection: the ramdisk tells what the machine is. Ironic's name: `agent`. */
export function agentInspect(options: AgentInspectOptions): StepInterface {
  const step = (name: string, priority: number, run: Step["run"]): Step => ({
    step: name,
    kinds: ["inspect"],
    priority,
    abortable: true,
    repeatable: true,
    run,
  });
  return {
    validate() {},
    steps: [
      step("boot_ramdisk", 100, async ({ machine }) => {
        await machine.bootRamdisk();
        return { kind: "wait", for: "inspection", timeout: options.waitTimeout };
      }),
      step("process_inventory", 50, processInventory),
      step("tear_down", 10, async ({ machine }) => {
        if (options.fastTrack) return { kind: "done" };
        await machine.setBootTarget("none");
        await machine.power("power off");
        return { kind: "done" };
      }),
    ],
  };
}

/** Ironic's hooks ramdisk-error, validate-interfaces, ports, architecture, memory, boot-mode and root-device, in that order. */
async function processInventory(context: StepContext): Promise<StepOutcome> {
  const { inspection, machine } = context;
  if (inspection === null) throw new Fault("internal", "inspection.missing", "the inspection data is not in the store");
  const error = stringProperty(inspection, "error");
  if (error !== undefined && error !== "")
    throw new Fault("refused", "inspection.ramdisk", `the ramdisk reported: ${error}`);
  const inventory = objectProperty(inspection, "inventory");
  if (inventory === undefined)
    throw new Fault("malformed", "inspection.inventory", "the inspection data has no inventory");
  await machine.ensurePorts(portsOf(inspection, inventory));
  const bootMode = bootModeOf(inventory);
  await machine.learn({
    properties: propertiesOf(inspection, inventory),
    ...(bootMode === undefined ? {} : { bootMode }),
  });
  await machine.storeInventory(inspection);
  return { kind: "done" };
}

function objects(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? (value as readonly unknown[]).filter(isJsonObject) : [];
}

/** Only the NIC that booted gets pxe_enabled; where that is unknown, all get it. */
function portsOf(
  inspection: JsonObject,
  inventory: JsonObject,
): readonly { readonly address: string; readonly pxeEnabled: boolean }[] {
  const boot = objectProperty(inventory, "boot");
  const bootMac = normalMac(
    stringProperty(inspection, "boot_interface") ??
      (boot === undefined ? undefined : stringProperty(boot, "pxe_interface")),
  );
  const addresses = objects(property(inventory, "interfaces")).flatMap((one) => {
    const mac = normalMac(stringProperty(one, "mac_address"));
    return mac === undefined ? [] : [mac];
  });
  return addresses.map((address) => ({
    address,
    pxeEnabled: bootMac === undefined || !addresses.includes(bootMac) || address === bootMac,
  }));
}

/** BOOTIF has the hardware type in front: 01-52-54-…. */
function normalMac(text: string | undefined): string | undefined {
  const mac = text?.toLowerCase().replaceAll("-", ":");
  if (mac === undefined) return undefined;
  const bare = mac.length === 20 ? mac.slice(3) : mac;
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(bare) ? bare : undefined;
}

function propertiesOf(inspection: JsonObject, inventory: JsonObject): JsonObject {
  const cpu = objectProperty(inventory, "cpu");
  const memory = objectProperty(inventory, "memory");
  const vendor = objectProperty(inventory, "system_vendor");
  const rootDisk = objectProperty(inspection, "root_disk");
  const architecture = cpu === undefined ? undefined : stringProperty(cpu, "architecture");
  const size = rootDisk === undefined ? undefined : numberProperty(rootDisk, "size");
  const found: Record<string, JsonObject[string] | undefined> = {
    cpu_arch: architecture,
    cpus: cpu === undefined ? undefined : numberProperty(cpu, "count"),
    memory_mb: memory === undefined ? undefined : numberProperty(memory, "physical_mb"),
    // The last GiB is left for partitions that a deploy adds. @source Ironic root-device hook
    local_gb: size === undefined ? undefined : Math.max(0, Math.floor(size / 2 ** 30) - 1),
    vendor: vendor === undefined ? undefined : stringProperty(vendor, "manufacturer"),
  };
  return Object.fromEntries(
    Object.entries(found).filter((entry): entry is [string, string | number] => entry[1] !== undefined),
  );
}

function bootModeOf(inventory: JsonObject): BootMode | undefined {
  const boot = objectProperty(inventory, "boot");
  const mode = boot === undefined ? undefined : stringProperty(boot, "current_boot_mode");
  return mode === "bios" || mode === "uefi" ? mode : undefined;
}
