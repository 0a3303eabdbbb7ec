import type { NodeUuid } from "../core/brand.ts";
import type { Node } from "./node.ts";

/** A node as enrolling makes it: nothing known of it, nothing under way. `at` is the instant, UTC ISO 8601. */
export function enrolledNode({
  uuid,
  driver,
  at,
}: {
  readonly uuid: NodeUuid;
  readonly driver: string;
  readonly at: string;
}): Node {
  return {
    uuid,
    name: null,
    description: null,
    driver,
    interfaces: {},
    driverInfo: {},
    instanceInfo: {},
    properties: {},
    extra: {},
    instanceUuid: null,
    resourceClass: null,
    traits: [],
    provisionState: "enroll",
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
    createdAt: at,
    updatedAt: at,
  };
}
