import { isUuid, type NodeUuid } from "../../core/brand.ts";
import { Fault } from "../../core/fault.ts";
import type { JsonObject } from "../../core/json.ts";
import type { BootTraceReader } from "../../domain/boot-trace.ts";
import type { Node } from "../../domain/node.ts";
import type { NodeReader } from "../../domain/store.ts";
import type { DriverRegistry } from "../driver-registry.ts";
import type { MachineParts } from "../machine.ts";
import type { NodeLocks } from "../node-lock.ts";
import type { OperationRunner } from "../operation-runner.ts";
import type { PowerControl } from "../power.ts";
import { representNode } from "../representation.ts";

/** What the commands work with. */
export interface ConductorParts extends MachineParts {
  readonly drivers: DriverRegistry;
  readonly locks: NodeLocks;
  readonly runner: OperationRunner;
  readonly power: PowerControl;
  readonly bootTrace: BootTraceReader;
}

/** The node of a UUID or a name. @throws Fault not-found */
export function findNode(nodes: Pick<NodeReader, "get" | "byName">, ident: string): Node {
  const node = isUuid(ident) ? nodes.get(ident.toLowerCase() as NodeUuid) : nodes.byName(ident);
  if (node === undefined) {
    throw new Fault(
      "not-found",
      "node.not-found",
      `node "${ident}" could not be found; "node list" shows those that there are`,
      { detail: { node: ident } },
    );
  }
  return node;
}

/** The node as every door shows it. */
export function showNode(parts: ConductorParts, node: Node): JsonObject {
  return representNode(node, {
    drivers: parts.drivers,
    reservation: parts.locks.holder(node.uuid) === null ? null : parts.settings.name,
    conductor: parts.settings.name,
  });
}
