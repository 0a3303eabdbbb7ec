import { isJsonObject, type JsonObject, property, stringProperty } from "../core/json.ts";
import type { Node } from "./node.ts";

/**
 * A capability of a node: what the instance asks for before what the machine has. Written as `k:v,k2:v2` or as an object.
 * @source Ironic utils.parse_capabilities, deploy_utils.parse_instance_info_capabilities
 */
export function capability(node: Pick<Node, "instanceInfo" | "properties">, name: string): string | undefined {
  return capabilityIn(node.instanceInfo, name) ?? capabilityIn(node.properties, name);
}

function capabilityIn(holder: JsonObject, name: string): string | undefined {
  const given = property(holder, "capabilities");
  if (given !== undefined && isJsonObject(given)) {
    const value = property(given, name);
    return value === undefined || value === null || typeof value === "object" ? undefined : String(value);
  }
  for (const part of (stringProperty(holder, "capabilities") ?? "").split(",")) {
    const colon = part.indexOf(":");
    if (colon > 0 && part.slice(0, colon).trim() === name) return part.slice(colon + 1).trim();
  }
  return undefined;
}
