import { Type } from "typebox";
import { Fault, invalid } from "../../core/fault.ts";
import { millis } from "../../core/units.ts";
import type { BootDevice } from "../../domain/boot-device.ts";
import { type PowerTarget, powerTargets } from "../../domain/power-state.ts";
import { type Command, command } from "../catalogue.ts";
import { change, nodeOf } from "../node-changes.ts";
import { type ConductorParts, findNode } from "./parts.ts";
import { closed, nodeIdent, oneOf } from "./schemas.ts";
import { taskOf } from "../task.ts";

const BMC_TIMEOUT = millis(60_000);

/** The commands that go to the BMC. */
export function powerCommands(parts: ConductorParts): readonly Command[] {
  const { store, clock, drivers, locks, settings } = parts;
  return [
    command({
      name: "node.set_power_state",
      summary: "Power on, off or reboot; answers at once, an event tells the outcome",
      changes: true,
      params: Type.Object(
        {
          node: nodeIdent,
          target: oneOf(Object.keys(powerTargets) as PowerTarget[]),
        },
        closed,
      ),
      result: Type.Object(
        {
          power_state: Type.Union([Type.String(), Type.Null()]),
          target_power_state: Type.Union([Type.String(), Type.Null()]),
        },
        closed,
      ),
      handle: async ({ node: ident, target }, context) => {
        const { uuid } = findNode(store.nodes, ident);
        const lock = await locks.acquire(uuid, `power: ${target}`, settings.lockWait);
        try {
          const node = nodeOf(store, uuid);
          if (node.provisionState === "cleaning" || node.provisionState === "clean wait") {
            throw new Fault(
              "conflict",
              "node.state",
              `the node is "${node.provisionState}"; its power cannot be changed until that is done`,
            );
          }
          const { power } = drivers.interfacesOf(node);
          if (!power.supported.includes(target))
            throw new Fault("unsupported", "power.unsupported", `driver "${node.driver}" cannot do "${target}"`);
          power.validate(taskOf(store, node));
          const result = await context.commit((tx) => {
            const changed = change(tx, clock, nodeOf(tx, uuid), {
              targetPowerState: target,
              ...(node.lastError !== null && node.targetProvisionState === null ? { lastError: null } : {}),
            });
            return {
              power_state: changed.powerState as string | null,
              target_power_state: changed.targetPowerState as string | null,
            };
          });
          parts.power.start(uuid, target, lock);
          return result;
        } catch (error) {
          lock.release();
          throw error;
        }
      },
    }),
    command({
      name: "node.set_boot_device",
      summary: "What the firmware starts from next",
      changes: true,
      params: Type.Object(
        { node: nodeIdent, boot_device: Type.String(), persistent: Type.Optional(Type.Boolean()) },
        closed,
      ),
      result: Type.Null(),
      handle: async ({ node: ident, boot_device: device, persistent }, context) => {
        const { uuid } = findNode(store.nodes, ident);
        using _lock = await locks.acquire(uuid, "boot device", settings.lockWait);
        const node = nodeOf(store, uuid);
        const { management } = drivers.interfacesOf(node);
        if (!management.supportedBootDevices.includes(device as BootDevice))
          throw invalid("boot_device", `must be one of ${management.supportedBootDevices.join(", ")}`);
        using deadline = clock.deadline(BMC_TIMEOUT, context.signal);
        await management.setBootDevice(
          taskOf(store, node),
          { device: device as BootDevice, persistent: persistent ?? false },
          node.bootMode,
          { signal: deadline.signal, log: context.log },
        );
        return null;
      },
    }),
    command({
      name: "node.get_boot_device",
      summary: "What the firmware starts from next, as the BMC says",
      changes: false,
      params: Type.Object({ node: nodeIdent }, closed),
      result: Type.Object(
        {
          boot_device: Type.Union([Type.String(), Type.Null()]),
          persistent: Type.Union([Type.Boolean(), Type.Null()]),
        },
        closed,
      ),
      handle: async ({ node: ident }, context) => {
        const node = findNode(store.nodes, ident);
        using deadline = clock.deadline(BMC_TIMEOUT, context.signal);
        const setting = await drivers
          .interfacesOf(node)
          .management.getBootDevice(taskOf(store, node), { signal: deadline.signal, log: context.log });
        return { boot_device: setting?.device ?? null, persistent: setting?.persistent ?? null };
      },
    }),
  ];
}
