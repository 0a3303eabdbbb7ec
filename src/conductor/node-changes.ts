import type { NodeUuid } from "../core/brand.ts";
import { type Clock, instant } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import type { JsonObject } from "../core/json.ts";
import type { HistoryEntry, HistoryType } from "../domain/history.ts";
import type { Node } from "../domain/node.ts";
import { type ProvisionEvent, type ProvisionState, transition } from "../domain/provision-state.ts";
import type { NodeReader, Transaction } from "../domain/store.ts";

/** The node as this transaction sees it. @throws Fault not-found */
export function nodeOf(tx: { readonly nodes: Pick<NodeReader, "get"> }, uuid: NodeUuid): Node {
  const node = tx.nodes.get(uuid);
  if (node === undefined)
    throw new Fault("not-found", "node.not-found", `node ${uuid} could not be found`, { detail: { node: uuid } });
  return node;
}

/** Stores the node with changed fields and a fresh updatedAt. */
export function change(tx: Transaction, clock: Clock, node: Node, fields: Partial<Node>): Node {
  const changed: Node = { ...node, ...fields, updatedAt: instant(clock) };
  tx.nodes.put(changed);
  return changed;
}

/** Adds a history entry about the node. */
export function record(
  tx: Transaction,
  node: Node,
  type: HistoryType,
  data: JsonObject,
  severity: HistoryEntry["severity"] = "INFO",
): HistoryEntry {
  return tx.history.append({
    type,
    severity,
    node: node.uuid,
    name: node.name,
    operation: node.operation?.id ?? null,
    data,
  });
}

/** The refusal of a verb that the present state does not allow. */
export function illegal(node: Node, event: ProvisionEvent): Fault {
  return new Fault(
    "conflict",
    "node.state",
    `the node is "${node.provisionState}"; "${event}" is not possible from there`,
    {
      detail: { node: node.uuid, provision_state: node.provisionState, event },
    },
  );
}

/**
 * Moves the node along its state machine, with other fields and a history entry, in the caller's transaction.
 * @throws Fault conflict when the table has no such edge
 */
export function moveState(
  tx: Transaction,
  clock: Clock,
  node: Node,
  event: ProvisionEvent,
  options: {
    readonly aim?: ProvisionState | undefined;
    readonly fields?: Partial<Node>;
    readonly reason?: string;
  } = {},
): Node {
  const next = transition(node.provisionState, event, options.aim);
  if (!next.ok) throw illegal(node, event);
  const changed = change(tx, clock, node, {
    ...options.fields,
    provisionState: next.state,
    targetProvisionState: next.target,
    provisionUpdatedAt: instant(clock),
  });
  // The entry names the operation that the change belongs to, also when the change ends it.
  record(
    tx,
    changed.operation === null ? { ...changed, operation: node.operation } : changed,
    "node.state",
    {
      from: node.provisionState,
      to: next.state,
      target: next.target,
      event,
      ...(options.reason === undefined ? {} : { reason: options.reason }),
    },
    event === "fail" ? "ERROR" : "INFO",
  );
  return changed;
}
