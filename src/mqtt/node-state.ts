import { Type, type Static } from "typebox";
import type { Node } from "../domain/node.ts";

const text = Type.Union([Type.String(), Type.Null()]);

/** What the retained topic of a node says: small, without secrets, and the same text as long as the node is the same. */
export const nodeState = Type.Object({
  uuid: Type.String({ format: "uuid" }),
  name: text,
  driver: Type.String(),
  provision_state: Type.String({ description: "Ironic's provision state" }),
  target_provision_state: text,
  power_state: text,
  target_power_state: text,
  maintenance: Type.Boolean(),
  maintenance_reason: text,
  fault: text,
  last_error: text,
  resource_class: text,
  instance_uuid: text,
  operation: Type.Union([
    Type.Object({
      id: Type.String(),
      verb: Type.String({ description: "The provision verb that started it" }),
      step: Type.Union([Type.String(), Type.Null()], { description: "interface.step that runs or comes next" }),
      index: Type.Integer({ description: "Its place among the steps, from 0" }),
      count: Type.Integer({ description: "How many steps there are" }),
      waiting_for: text,
    }),
    Type.Null(),
  ]),
  provision_updated_at: text,
});

export type NodeState = Static<typeof nodeState>;

export function stateOf(node: Node): NodeState {
  const { operation } = node;
  const step = operation?.steps[operation.index];
  return {
    uuid: node.uuid,
    name: node.name,
    driver: node.driver,
    provision_state: node.provisionState,
    target_provision_state: node.targetProvisionState,
    power_state: node.powerState,
    target_power_state: node.targetPowerState,
    maintenance: node.maintenance,
    maintenance_reason: node.maintenanceReason,
    fault: node.fault,
    last_error: node.lastError,
    resource_class: node.resourceClass,
    instance_uuid: node.instanceUuid,
    operation:
      operation === null
        ? null
        : {
            id: operation.id,
            verb: operation.verb,
            step: step === undefined ? null : `${step.interface}.${step.step}`,
            index: operation.index,
            count: operation.steps.length,
            waiting_for: operation.progress.kind === "waiting" ? operation.progress.for : null,
          },
    provision_updated_at: node.provisionUpdatedAt,
  };
}
