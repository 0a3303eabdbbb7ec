import type { JsonObject } from "../../../../src/core/json.ts";
import { parseNodeUuid } from "../../../../src/core/brand.ts";
import type { Node } from "../../../../src/domain/node.ts";
import type { Task } from "../../../../src/driver/interfaces.ts";

/** A task for a node of hardware type ipmi with this driver_info. */
export function taskWith(driverInfo: JsonObject, change: Partial<Node> = {}): Task {
  const node: Node = {
    uuid: parseNodeUuid("6d7c1f5e-0000-4000-8000-000000000001"),
    name: "node-1",
    description: null,
    driver: "ipmi",
    interfaces: {},
    driverInfo,
    instanceInfo: {},
    properties: {},
    extra: {},
    instanceUuid: null,
    resourceClass: null,
    traits: [],
    provisionState: "manageable",
    targetProvisionState: null,
    provisionUpdatedAt: null,
    powerState: null,
    targetPowerState: null,
    maintenance: false,
    maintenanceReason: null,
    fault: null,
    lastError: null,
    protected: false,
    protectedReason: null,
    retired: false,
    retiredReason: null,
    automatedClean: null,
    bootMode: null,
    bootTarget: "none",
    agent: null,
    operation: null,
    inspectionStartedAt: null,
    inspectionFinishedAt: null,
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z",
    ...change,
  };
  return { node, ports: [] };
}
