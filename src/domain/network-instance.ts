import { stringProperty } from "../core/json.ts";
import type { Node } from "./node.ts";

/** An instance that does not boot from the machine's own disk. */
export type NetworkInstance =
  /** `source`: an http: or https: URL, or the path of a file on the appliance. */
  | { readonly kind: "iso"; readonly source: string }
  /** Kernel and initrd that run from memory: URLs. */
  | { readonly kind: "linux"; readonly kernel: string; readonly initrd: string | null };

/**
 * What instance_info names: `boot_iso`, else `kernel` with or without `ramdisk`; undefined: neither.
 * @source Ironic deploy_interface "ramdisk"
 */
export function networkInstance(node: Pick<Node, "instanceInfo">): NetworkInstance | undefined {
  const iso = stringProperty(node.instanceInfo, "boot_iso");
  if (iso !== undefined) return { kind: "iso", source: iso };
  const kernel = stringProperty(node.instanceInfo, "kernel");
  if (kernel === undefined) return undefined;
  return { kind: "linux", kernel, initrd: stringProperty(node.instanceInfo, "ramdisk") ?? null };
}

export function isBootUrl(text: string): boolean {
  return /^https?:\/\/[^\s/]+\/\S*$/.test(text);
}
