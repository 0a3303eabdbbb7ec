import { invalid } from "../core/fault.ts";
import type { BootInterface, Task } from "./interfaces.ts";

/**
 * Network boot through ironrack's own DHCP, TFTP and HTTP; the instance boots from its own disk, or, with the
 * deploy interface `ramdisk`, over the network each time. Ironic's name: `ipxe`.
 */
export const ipxeBoot: BootInterface = {
  validate(task: Task): void {
    if (!task.ports.some((port) => port.pxeEnabled)) {
      throw invalid(
        "ports",
        "the node has no port with pxe_enabled; create one with the MAC address of the NIC that it boots from",
      );
    }
  },
  ramdisk: { target: "ramdisk", device: "pxe" },
  instance: ({ node }) =>
    node.interfaces.deploy !== "ramdisk" ? { target: "disk", device: "disk" } : { target: "network", device: "pxe" },
};
