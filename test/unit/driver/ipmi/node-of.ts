import type { JsonObject } from "../../../../src/core/json.ts";
import { parseNodeUuid } from "../../../../src/core/brand.ts";
import { enrolledNode } from "../../../../src/domain/enrolled-node.ts";
import type { Node } from "../../../../src/domain/node.ts";
import type { Task } from "../../../../src/driver/interfaces.ts";

/** A task for a node of hardware type ipmi with this driver_info. */
export function taskWith(driverInfo: JsonObject, change: Partial<Node> = {}): Task {
  const uuid = parseNodeUuid("6d7c1f5e-0000-4000-8000-000000000001");
  const enrolled = enrolledNode({ uuid, driver: "ipmi", at: "2026-01-01T00:00:00.000Z" });
  const node: Node = { ...enrolled, name: "node-1", driverInfo, provisionState: "manageable", ...change };
  return { node, ports: [], volumes: [] };
}
