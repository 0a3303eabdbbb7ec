import { invalid } from "../core/fault.ts";
import { stringProperty } from "../core/json.ts";
import { volumeBoot } from "../domain/volume.ts";
import type { Machine, StorageInterface, Task } from "./interfaces.ts";

/** Whether the instance lives on a volume of a storage system, and the machine's own disks are left as they are. */
export function bootsFromVolume({ node, volumes }: Pick<Task, "node" | "volumes">): boolean {
  return volumeBoot(node, volumes).kind !== "none";
}

/** Starts an instance that the network gives: now, and whenever the machine is started. */
export async function startOverNetwork(machine: Machine): Promise<void> {
  await machine.power("power off");
  await machine.prepareInstanceBoot();
  await machine.power("power on");
}

/** Volumes are kept and mean nothing. Ironic's name: `noop`. */
export const noopStorage: StorageInterface = { validate() {} };

/**
 * Somebody else makes volumes and tells ironrack of them as volume targets; a node that has one with boot_index 0 boots from it.
 * Ironic's name: `external`.
 * @source Ironic drivers/modules/storage/external.py
 */
export const externalStorage: StorageInterface = {
  validate({ node, volumes }): void {
    const boot = volumeBoot(node, volumes);
    if (boot.kind === "none") return;
    if (boot.kind === "unfit") throw invalid(`volume_target.${boot.field}`, boot.reason);
    const instead = `the node boots from its volume ${boot.boot.iqn}`;
    for (const key of ["image_source", "configdrive"]) {
      if (stringProperty(node.instanceInfo, key) !== undefined) {
        throw invalid(
          `instance_info.${key}`,
          `is not written anywhere: ${instead}; remove it, or the volume target with boot_index 0`,
        );
      }
    }
    if (node.interfaces.deploy === "ramdisk")
      throw invalid("deploy_interface", `"ramdisk" boots what instance_info names, but ${instead}`);
  },
};

export const storageInterfaces: ReadonlyMap<string, StorageInterface> = new Map([
  ["noop", noopStorage],
  ["external", externalStorage],
]);
