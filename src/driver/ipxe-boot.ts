import type { BootInterface, Task } from "./interfaces.ts";
import { invalid } from "../core/fault.ts";

/** Network boot through ironrack's own DHCP, TFTP and HTTP; the instance boots from its own disk. Ironic's name: `ipxe`. */
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
  instance: { target: "disk", device: "disk" },
};
