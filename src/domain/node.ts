import type { MacAddress, NodeUuid, PortUuid } from "../core/brand.ts";
import type { JsonObject } from "../core/json.ts";
import type { BootMode, BootTarget } from "./boot-device.ts";
import type { Operation } from "./operation.ts";
import type { PowerState, PowerTarget } from "./power-state.ts";
import type { ProvisionState } from "./provision-state.ts";

/** Why a machine set maintenance itself. @source Ironic common/faults.py */
export type NodeFault = "power failure" | "clean failure" | "rescue abort failure" | "service failure";

/** The ramdisk's agent as it was last heard of; dropped when the machine loses power or reboots. */
export interface AgentRecord {
  /** Given out once by lookup, compared in constant time afterwards. Secret. */
  readonly token: string;
  /** null until the first heartbeat. */
  readonly callbackUrl: string | null;
  /** PEM of the certificate that its server shows. */
  readonly verifyCa: string | null;
  readonly version: string | null;
  readonly lastHeartbeat: string | null;
}

/** Ironic's interfaces that hardware types implement here. */
export const servedInterfaces = ["power", "management", "boot", "deploy", "inspect", "storage"] as const;

/** Its others: a node that names an implementation of one is refused. */
export const unservedInterfaces = ["bios", "console", "firmware", "network", "raid", "rescue", "vendor"] as const;

export type InterfaceName = (typeof servedInterfaces | typeof unservedInterfaces)[number];

/** A machine of the rack. Instants are UTC ISO 8601. */
export interface Node {
  readonly uuid: NodeUuid;
  readonly name: string | null;
  readonly description: string | null;
  /** Hardware type, e.g. `ipmi`. */
  readonly driver: string;
  /** Implementations chosen by the operator; what is absent follows the hardware type's preference. */
  readonly interfaces: Readonly<Partial<Record<InterfaceName, string>>>;
  /** BMC address, credentials and the like; secret keys are encrypted at rest and shown as ******. */
  readonly driverInfo: JsonObject;
  readonly instanceInfo: JsonObject;
  readonly properties: JsonObject;
  readonly extra: JsonObject;
  readonly instanceUuid: string | null;
  readonly resourceClass: string | null;
  readonly traits: readonly string[];
  readonly provisionState: ProvisionState;
  readonly targetProvisionState: ProvisionState | null;
  readonly provisionUpdatedAt: string | null;
  readonly powerState: PowerState | null;
  readonly targetPowerState: PowerTarget | null;
  readonly maintenance: boolean;
  readonly maintenanceReason: string | null;
  readonly fault: NodeFault | null;
  readonly lastError: string | null;
  readonly protected: boolean;
  readonly protectedReason: string | null;
  readonly retired: boolean;
  readonly retiredReason: string | null;
  readonly automatedClean: boolean | null;
  readonly bootMode: BootMode | null;
  readonly bootTarget: BootTarget;
  readonly agent: AgentRecord | null;
  readonly operation: Operation | null;
  readonly inspectionStartedAt: string | null;
  readonly inspectionFinishedAt: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** A NIC of a node. @source Ironic port */
export interface Port {
  readonly uuid: PortUuid;
  readonly nodeUuid: NodeUuid;
  readonly address: MacAddress;
  readonly pxeEnabled: boolean;
  readonly localLinkConnection: JsonObject;
  readonly physicalNetwork: string | null;
  readonly extra: JsonObject;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Names are of RFC 3986's unreserved characters and do not look like a UUID. */
export function isNodeName(text: string): boolean {
  return /^[A-Za-z0-9._~-]{1,255}$/.test(text) && !/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text);
}
