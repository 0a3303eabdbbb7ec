import type { MacAddress } from "../core/brand.ts";
import { stringProperty } from "../core/json.ts";
import type { Node } from "./node.ts";

export interface RamdiskArguments {
  readonly node: Node | undefined;
  /** The NIC that the machine boots from. */
  readonly mac: MacAddress;
  /** Root of the REST API, as the machine reaches it, without a slash at the end. */
  readonly apiUrl: string;
  /** What the operator set for all machines: console and the like. */
  readonly defaults: string;
  readonly debug: boolean;
}

/**
 * The ramdisk's kernel command line. The node's `kernel_append_params` (instance_info before driver_info) stand for the
 * operator's defaults; `%default%` in them stands for these.
 * @source Ironic pxe_utils.get_kernel_append_params; ironic-python-agent's kernel parameters
 */
export function ramdiskKernelArguments(boot: RamdiskArguments): readonly string[] {
  const { node, mac, apiUrl, defaults, debug } = boot;
  const inspects = node === undefined || node.provisionState === "inspecting" || node.provisionState === "inspect wait";
  return [
    `ipa-api-url=${apiUrl}`,
    `ipa-debug=${debug ? 1 : 0}`,
    // PXELINUX's form: hardware type, then the address with hyphens.
    `BOOTIF=01-${mac.replaceAll(":", "-")}`,
    ...(inspects ? [`ipa-inspection-callback-url=${apiUrl}/v1/continue_inspection`] : []),
    ...appendedArguments(node, defaults),
  ];
}

/** The operator's defaults, or the node's `kernel_append_params` with them in the place of `%default%`. */
export function appendedArguments(node: Node | undefined, defaults: string): readonly string[] {
  return appended(node, defaults)
    .split(/\s+/)
    .filter((argument) => argument !== "");
}

function appended(node: Node | undefined, defaults: string): string {
  if (node === undefined) return defaults;
  const own =
    stringProperty(node.instanceInfo, "kernel_append_params") ??
    stringProperty(node.driverInfo, "kernel_append_params");
  return own === undefined ? defaults : own.replaceAll("%default%", defaults);
}
