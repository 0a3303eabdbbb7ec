import { invalid } from "../core/fault.ts";
import { stringProperty } from "../core/json.ts";
import type { BootInterface, Task } from "./interfaces.ts";
import { bootsFromVolume } from "./storage.ts";

/**
 * Network boot through ironrack's own DHCP, TFTP and HTTP; the instance boots from its own disk, or, with the
 * deploy interface `ramdisk` or from a volume, over the network each time. Ironic's name: `ipxe`.
 */
export const ipxeBoot: BootInterface = {
  validate(task: Task): void {
    const { driverInfo } = task.node;
    if (
      stringProperty(driverInfo, "deploy_iso") !== undefined &&
      stringProperty(driverInfo, "deploy_kernel") === undefined
    ) {
      // Over the network an ISO's system is told nothing, not even where the API is.
      throw invalid("driver_info.deploy_iso", "is for virtual media; give deploy_kernel and deploy_ramdisk");
    }
    if (!task.ports.some((port) => port.pxeEnabled)) {
      throw invalid(
        "ports",
        "the node has no port with pxe_enabled; create one with the MAC address of the NIC that it boots from",
      );
    }
  },
  ramdisk: { target: "ramdisk", device: "pxe" },
  instance: (task) => {
    if (bootsFromVolume(task)) return { target: "volume", device: "pxe" };
    const networked = task.node.interfaces.deploy === "ramdisk";
    return networked ? { target: "network", device: "pxe" } : { target: "disk", device: "disk" };
  },
};
