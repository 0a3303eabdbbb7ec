import { Fault } from "../core/fault.ts";
import type { Node } from "../domain/node.ts";
import { provisionStates } from "../domain/provision-state.ts";
import type { DriverRegistry } from "./driver-registry.ts";
import type { MachineParts } from "./machine.ts";
import { change, nodeOf, record } from "./node-changes.ts";
import type { NodeLocks } from "./node-lock.ts";
import type { OperationRunner } from "./operation-runner.ts";
import { findStep, stepName } from "./step-plan.ts";

export interface RecoveryParts extends MachineParts {
  readonly drivers: DriverRegistry;
  readonly locks: NodeLocks;
  readonly runner: OperationRunner;
}

/**
 * What a start does with each node that work was under way on: a waiting one waits on, and begins again when nothing is heard
 * of its machine; a repeatable step is begun again, anything else fails with the reason. Afterwards no node is in a working state without somebody working on it.
 */
export async function recover(parts: RecoveryParts): Promise<void> {
  for (const node of parts.store.nodes.list()) {
    if (node.targetPowerState !== null) await forgetPowerTarget(parts, node);
    if (node.operation !== null) await resumeOperation(parts, nodeOf(parts.store, node.uuid));
    else if (provisionStates[node.provisionState].ifConductorLost !== null) {
      await parts.runner.fail(node.uuid, lost("nothing is known of the work that was under way"));
    }
  }
}

function lost(what: string): Fault {
  return new Fault(
    "cancelled",
    "conductor.lost",
    `the daemon was restarted while this was under way, and ${what}; repeat the request`,
  );
}

/** Whether an unconfirmed power change happened is read from the BMC by the next step or power sync. */
async function forgetPowerTarget(parts: RecoveryParts, node: Node): Promise<void> {
  await parts.store.commit((tx) => change(tx, parts.clock, nodeOf(tx, node.uuid), { targetPowerState: null }));
}

async function resumeOperation(parts: RecoveryParts, node: Node): Promise<void> {
  const { store, runner, locks, log } = parts;
  const operation = node.operation;
  if (operation === null) return;
  if (operation.progress.kind === "waiting") {
    await store.commit((tx) =>
      record(tx, node, "node.recovered", {
        waiting_for: operation.progress.kind === "waiting" ? operation.progress.for : null,
      }),
    );
    log.info("node.recovered", { node: node.uuid, operation: operation.id, state: node.provisionState });
    // An inspection removes the old inventory when it begins: one that is there came while nobody could go on with it.
    const inspected = operation.progress.for === "inspection" && (await store.inventory.get(node.uuid)) !== undefined;
    if (inspected) await runner.resume(node.uuid, "inspection");
    else runner.watchAfterRestart(node);
    return;
  }
  if (provisionStates[node.provisionState].kind !== "working") return;
  const step = operation.steps[operation.index];
  const lock = await locks.acquire(node.uuid, "recovery");
  if (step !== undefined && operation.progress.kind === "running" && !isRepeatable(parts, node)) {
    lock.release();
    await runner.fail(node.uuid, lost(`step ${stepName(step)} cannot be begun twice`));
    return;
  }
  await store.commit((tx) =>
    record(tx, node, "node.recovered", {
      step: step === undefined ? null : stepName(step),
      attempt: operation.attempt,
    }),
  );
  log.info("node.recovered", {
    node: node.uuid,
    operation: operation.id,
    step: step === undefined ? undefined : stepName(step),
    state: node.provisionState,
  });
  runner.start(node.uuid, lock);
}

function isRepeatable(parts: RecoveryParts, node: Node): boolean {
  const operation = node.operation;
  const step = operation?.steps[operation.index];
  if (operation === null || operation === undefined || step === undefined) return false;
  try {
    return findStep(parts.drivers.interfacesOf(node), step, operation.kind).repeatable;
  } catch {
    return false; // a driver that is no longer enabled cannot resume
  }
}
