import type { JsonObject } from "../core/json.ts";
import { objectProperty } from "../core/json.ts";
import type { Node } from "../domain/node.ts";

/** The hints that choose the disk: the instance's, else the node's. @source Ironic "root device hints" */
export function rootDeviceHints(node: Node): JsonObject | undefined {
  return objectProperty(node.instanceInfo, "root_device") ?? objectProperty(node.properties, "root_device");
}
