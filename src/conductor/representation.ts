import { isSecretKey, HIDDEN } from "../core/secret.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Lease } from "../domain/lease.ts";
import { type Node, type Port, servedInterfaces, unservedInterfaces } from "../domain/node.ts";
import type { PlannedStep } from "../domain/operation.ts";
import type { Volume } from "../domain/volume.ts";
import type { DriverRegistry } from "./driver-registry.ts";

/*
 * Ironic's JSON for our records: the only file that knows snake_case. It lies here and not in the REST door, because the
 * site's and the local door show the same JSON.
 */

export function representNode(
  node: Node,
  options: { readonly drivers: DriverRegistry; readonly reservation: string | null; readonly conductor: string },
): JsonObject {
  const { operation } = node;
  const step = operation === null ? undefined : operation.steps[operation.index];
  return {
    uuid: node.uuid,
    name: node.name,
    description: node.description,
    driver: node.driver,
    provision_state: node.provisionState,
    target_provision_state: node.targetProvisionState,
    provision_updated_at: node.provisionUpdatedAt,
    power_state: node.powerState,
    target_power_state: node.targetPowerState,
    maintenance: node.maintenance,
    maintenance_reason: node.maintenanceReason,
    fault: node.fault,
    last_error: node.lastError,
    reservation: options.reservation,
    conductor: options.conductor,
    driver_info: masked(node.driverInfo),
    driver_internal_info: internalInfo(node),
    instance_info: masked(node.instanceInfo),
    instance_uuid: node.instanceUuid,
    properties: node.properties,
    extra: node.extra,
    resource_class: node.resourceClass,
    traits: node.traits,
    boot_mode: node.bootMode,
    automated_clean: node.automatedClean,
    protected: node.protected,
    protected_reason: node.protectedReason,
    retired: node.retired,
    retired_reason: node.retiredReason,
    clean_step: operation?.kind === "clean" && step !== undefined ? representStep(step) : {},
    deploy_step: operation?.kind === "deploy" && step !== undefined ? representStep(step) : {},
    operation:
      operation === null
        ? null
        : {
            id: operation.id,
            verb: operation.verb,
            kind: operation.kind,
            step: step === undefined ? null : `${step.interface}.${step.step}`,
            index: operation.index,
            count: operation.steps.length,
            attempt: operation.attempt,
            started_at: operation.startedAt,
            deadline: operation.progress.kind === "waiting" ? operation.progress.deadline : null,
          },
    ...Object.fromEntries(
      servedInterfaces.map((name) => [`${name}_interface`, options.drivers.interfaceName(node, name)]),
    ),
    ...Object.fromEntries(unservedInterfaces.map((name) => [`${name}_interface`, null])),
    network_interface: "noop",
    inspection_started_at: node.inspectionStartedAt,
    inspection_finished_at: node.inspectionFinishedAt,
    created_at: node.createdAt,
    updated_at: node.updatedAt,
  };
}

function internalInfo(node: Node): JsonObject {
  const { agent } = node;
  if (agent === null) return {};
  return {
    agent_url: agent.callbackUrl,
    agent_version: agent.version,
    agent_last_heartbeat: agent.lastHeartbeat,
    agent_secret_token: HIDDEN,
  };
}

function representStep(step: PlannedStep): JsonObject {
  return {
    interface: step.interface,
    step: step.step,
    args: masked(step.args),
    priority: step.priority,
    abortable: step.abortable,
  };
}

/** The object with the values of secret keys, at any depth, as ******. */
export function masked(object: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [
      key,
      isSecretKey(key) && value !== null ? HIDDEN : maskedValue(value),
    ]),
  );
}

function maskedValue(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(maskedValue);
  return isJsonObject(value) ? masked(value) : value;
}

export function representPort(port: Port): JsonObject {
  return {
    uuid: port.uuid,
    node_uuid: port.nodeUuid,
    address: port.address,
    pxe_enabled: port.pxeEnabled,
    local_link_connection: port.localLinkConnection,
    physical_network: port.physicalNetwork,
    extra: port.extra,
    created_at: port.createdAt,
    updated_at: port.updatedAt,
  };
}

export function representVolume(volume: Volume): JsonObject {
  return {
    uuid: volume.uuid,
    node_uuid: volume.nodeUuid,
    ...(volume.kind === "connector"
      ? { type: volume.type, connector_id: volume.connectorId }
      : {
          volume_type: volume.volumeType,
          boot_index: volume.bootIndex,
          volume_id: volume.volumeId,
          properties: masked(volume.properties),
        }),
    extra: volume.extra,
    created_at: volume.createdAt,
    updated_at: volume.updatedAt,
  };
}

export function representEvent(entry: HistoryEntry): JsonObject {
  const { seq, time, type, severity, node, name, operation, data } = entry;
  return { seq, time, type, severity, node, name, operation, data };
}

export function representLease(lease: Lease<string>): JsonObject {
  return {
    address: lease.address,
    client: lease.client,
    mac: lease.mac,
    hostname: lease.hostname,
    state: lease.state,
    expires_at: new Date(lease.expiresAt).toISOString(),
  };
}
