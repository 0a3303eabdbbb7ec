import { setMaxListeners } from "node:events";
import type { NodeUuid } from "../core/brand.ts";
import { instant } from "../core/clock.ts";
import { assertNever, Fault, isFault, toFault } from "../core/fault.ts";
import { millis } from "../core/units.ts";
import type { BootTraceReader } from "../domain/boot-trace.ts";
import type { Node } from "../domain/node.ts";
import type { Operation, PlannedStep, StepKind } from "../domain/operation.ts";
import { type ProvisionEvent, provisionStates, type ProvisionVerb } from "../domain/provision-state.ts";
import type { Transaction } from "../domain/store.ts";
import type { StepOutcome } from "../driver/interfaces.ts";
import type { DriverRegistry } from "./driver-registry.ts";
import { ConductedMachine, type MachineParts } from "./machine.ts";
import { change, moveState, nodeOf, record } from "./node-changes.ts";
import type { HeldLock, NodeLocks } from "./node-lock.ts";
import { NodeWaits, type WaitingOperation, waitingOperation } from "./node-waits.ts";
import { findStep, insertSteps, planSteps, stepName } from "./step-plan.ts";
import { taskOf } from "./task.ts";

/** A step that has been begun this often without coming further is not begun again. */
const MOST_ATTEMPTS = 5;

export interface OperationRunnerParts extends MachineParts {
  readonly drivers: DriverRegistry;
  readonly locks: NodeLocks;
  readonly bootTrace: Pick<BootTraceReader, "read">;
}

/**
 * Carries operations out, step by step. Before a step runs it is on disk that it does; what it answered is on disk before
 * the next. A node that waits holds no lock and no memory but a timer.
 */
export class OperationRunner implements AsyncDisposable {
  readonly #parts: OperationRunnerParts;
  readonly #running = new Map<NodeUuid, { readonly controller: AbortController; readonly ended: Promise<void> }>();
  readonly #waits: NodeWaits;
  #closing = false;

  constructor(parts: OperationRunnerParts) {
    this.#parts = parts;
    this.#waits = new NodeWaits({
      ...parts,
      expired: (node, operation) => this.#expire(node, operation),
      silent: (node, operation) => this.#beginAgain(node, operation),
    });
  }

  /** A new operation with the steps that the node's drivers offer; a clean with `chosen` steps runs those of the ramdisk's. */
  plan(node: Node, verb: ProvisionVerb, kind: StepKind, chosen?: readonly PlannedStep[]): Operation {
    const automated = kind === "clean" && verb !== "clean";
    const skipped = automated && !(node.automatedClean ?? this.#parts.settings.automatedClean);
    return {
      id: this.#parts.random.uuid(),
      verb,
      kind,
      steps: skipped
        ? []
        : planSteps(this.#parts.drivers.interfacesOf(node), taskOf(this.#parts.store, node), kind, chosen),
      index: 0,
      progress: { kind: "pending" },
      startedAt: instant(this.#parts.clock),
      attempt: 0,
      kept: null,
    };
  }

  /** Goes on with the node's stored operation in the background; takes over the lock. */
  start(uuid: NodeUuid, lock: HeldLock): void {
    this.#waits.clear(uuid);
    const controller = new AbortController();
    setMaxListeners(0, controller.signal);
    const ended = this.#run(uuid, controller.signal)
      .catch((error: unknown) => this.#parts.log.error("daemon.bug", { node: uuid }, error))
      .finally(() => {
        this.#running.delete(uuid);
        lock.release();
      });
    this.#running.set(uuid, { controller, ended });
    if (this.#closing) controller.abort(new Fault("cancelled", "daemon.stopping", "the daemon is stopping"));
  }

  /**
   * Something that a waiting node waits for has come: goes on with the next step. Nothing happens when the node no
   * longer waits for it.
   */
  async resume(uuid: NodeUuid, reason: "heartbeat" | "inspection"): Promise<void> {
    await this.#takeUp(uuid, `resume after ${reason}`, (tx, node, operation) => {
      if (operation.progress.for !== reason) return false;
      const next = this.#leaveWait(tx, node, advanced(operation, []));
      const step = operation.steps[operation.index];
      if (step !== undefined) record(tx, next, "node.step.done", { step: stepName(step) });
      return true;
    });
  }

  /** Starts a waiting node's operation where `leave` takes it out of its wait; whether it did. */
  async #takeUp(
    uuid: NodeUuid,
    why: string,
    leave: (tx: Transaction, node: Node, operation: WaitingOperation) => boolean,
  ): Promise<boolean> {
    const lock = await this.#parts.locks.acquire(uuid, why);
    let left = false;
    try {
      left = await this.#parts.store.commit((tx) => {
        const node = tx.nodes.get(uuid);
        const operation = waitingOperation(node);
        return node !== undefined && operation !== null && leave(tx, node, operation);
      });
    } finally {
      if (left) this.start(uuid, lock);
      else lock.release();
    }
    return left;
  }

  #leaveWait(tx: Transaction, node: Node, operation: Operation): Node {
    const aim = node.targetProvisionState ?? undefined;
    return moveState(tx, this.#parts.clock, node, "resume", { aim, fields: { operation } });
  }

  /** A node that was found waiting after a restart waits on. */
  watchAfterRestart(node: Node): void {
    this.#waits.watchAfterRestart(node);
  }

  async #beginAgain(uuid: NodeUuid, id: string): Promise<void> {
    const reason = "nothing was heard of the machine since the restart: the step is begun again";
    const begun = await this.#takeUp(uuid, "begin again", (tx, node, operation) => {
      if (operation.id !== id) return false;
      const step = operation.steps[operation.index];
      const next = this.#leaveWait(tx, node, { ...operation, progress: { kind: "pending" } });
      record(tx, next, "node.recovered", { step: step === undefined ? null : stepName(step), reason });
      return true;
    });
    if (begun) this.#parts.log.warn("node.recovered", { node: uuid, operation: id, reason });
  }

  async #expire(uuid: NodeUuid, id: string): Promise<void> {
    using _lock = await this.#parts.locks.acquire(uuid, "deadline");
    const operation = waitingOperation(this.#parts.store.nodes.get(uuid));
    if (operation?.id !== id) return;
    const what =
      operation.progress.for === "inspection"
        ? "the ramdisk sent no inspection data"
        : "the ramdisk's agent did not report";
    await this.fail(
      uuid,
      new Fault(
        "timeout",
        "ramdisk.silent",
        `${what} in time; look at the machine's console, its boot order and the log of the boot services`,
      ),
    );
  }

  /** Ends the node's operation in the failed state of where it is, with the reason; then takes the machine down. */
  async fail(uuid: NodeUuid, fault: Fault, event: ProvisionEvent = "fail"): Promise<void> {
    this.#waits.clear(uuid);
    const { store, clock, log, settings } = this.#parts;
    const before = nodeOf(store, uuid);
    const operation = before.operation;
    const step = operation?.steps[operation.index];
    const text = failureText(operation, step, fault);
    await store.commit((tx) => {
      const node = nodeOf(tx, uuid);
      const cleaning = operation?.kind === "clean" && operation.progress.kind === "running" && step?.inBand === true;
      const moved = moveState(tx, clock, node, event, {
        aim: node.targetProvisionState ?? undefined,
        reason: text,
        fields: {
          operation: null,
          lastError: text,
          bootTarget: operation?.kind === "verify" ? node.bootTarget : "none",
          targetPowerState: null,
          ...(cleaning ? { maintenance: true, maintenanceReason: text, fault: "clean failure" as const } : {}),
          ...(operation?.kind === "inspect" ? { inspectionStartedAt: null } : {}),
        },
      });
      record(
        tx,
        { ...moved, operation },
        "node.failed",
        {
          step: step === undefined ? null : stepName(step),
          reason: text,
          code: fault.code,
          verb: operation?.verb ?? null,
        },
        "ERROR",
      );
    });
    log.warn("node.failed", {
      node: uuid,
      operation: operation?.id,
      step: step === undefined ? undefined : stepName(step),
      code: fault.code,
      reason: text,
    });
    const ramdisk = operation !== null && operation.kind !== "verify" && operation.kind !== "adopt";
    if (ramdisk && !(operation.kind === "deploy" && !settings.powerOffAfterDeployFailure)) await this.#powerOff(uuid);
  }

  /** Best effort: the failure that led here is what the operator has to see. */
  async #powerOff(uuid: NodeUuid): Promise<void> {
    try {
      using deadline = this.#parts.clock.deadline(millis(60_000));
      await this.#machine(uuid, "power_off_after_failure", deadline.signal).power("power off");
    } catch (error) {
      this.#parts.log.warn("power.unreadable", { node: uuid, reason: toFault(error).message });
      await this.#parts.store.commit((tx) =>
        change(tx, this.#parts.clock, nodeOf(tx, uuid), { targetPowerState: null }),
      );
    }
  }

  #machine(uuid: NodeUuid, step: string, signal: AbortSignal): ConductedMachine {
    const interfaces = this.#parts.drivers.interfacesOf(nodeOf(this.#parts.store, uuid));
    return new ConductedMachine({ ...this.#parts, uuid, interfaces, signal, step });
  }

  async #run(uuid: NodeUuid, signal: AbortSignal): Promise<void> {
    for (;;) {
      const node = nodeOf(this.#parts.store, uuid);
      const operation = node.operation;
      if (operation === null) return;
      const planned = operation.steps[operation.index];
      if (planned === undefined) {
        if (await this.#finish(node, operation)) continue;
        return;
      }
      try {
        const outcome = await this.#runStep(node, operation, planned, signal);
        if (!(await this.#settle(uuid, planned, outcome))) return;
      } catch (error) {
        const fault = toFault(error);
        // A stopping daemon leaves the step recorded as running: the next start resumes it.
        if (this.#closing && (fault.kind === "cancelled" || signal.aborted)) return;
        if (!isFault(error))
          this.#parts.log.error("daemon.bug", { node: uuid, step: stepName(planned), reason: fault.message }, error);
        await this.fail(uuid, fault);
        return;
      }
    }
  }

  async #runStep(node: Node, operation: Operation, planned: PlannedStep, signal: AbortSignal): Promise<StepOutcome> {
    const { store, clock, random } = this.#parts;
    const name = stepName(planned);
    const attempt = operation.attempt + 1;
    if (attempt > MOST_ATTEMPTS)
      throw new Fault("internal", "step.attempts", `was begun ${MOST_ATTEMPTS} times without coming any further`);
    const interfaces = this.#parts.drivers.interfacesOf(node);
    const step = findStep(interfaces, planned, operation.kind);
    await store.commit((tx) => {
      const now = nodeOf(tx, node.uuid);
      const begun: Operation = { ...operation, attempt, progress: { kind: "running", startedAt: instant(clock) } };
      record(tx, change(tx, clock, now, { operation: begun }), "node.step.started", {
        step: name,
        index: operation.index,
        count: operation.steps.length,
        attempt,
      });
    });
    const log = this.#parts.log.with({ node: node.uuid, operation: operation.id, step: name });
    log.info("step.started", { attempt });
    const began = clock.now();
    const outcome = await step.run({
      ...taskOf(store, nodeOf(store, node.uuid)),
      args: planned.args,
      machine: this.#machine(node.uuid, name, signal),
      clock,
      random,
      inspection: operation.kind === "inspect" ? ((await store.inventory.get(node.uuid)) ?? null) : null,
      attempt,
      kept: operation.kept,
      signal,
      log,
    });
    log.info(outcome.kind === "wait" ? "step.waiting" : "step.done", { elapsed_ms: Math.round(clock.now() - began) });
    return outcome;
  }

  /** Stores what the step answered; true when the next step can run at once. */
  async #settle(uuid: NodeUuid, planned: PlannedStep, outcome: StepOutcome): Promise<boolean> {
    const { store, clock } = this.#parts;
    const node = await store.commit((tx) => {
      const now = nodeOf(tx, uuid);
      const operation = now.operation as Operation;
      const aim = now.targetProvisionState ?? undefined;
      if (
        outcome.kind === "done" ||
        (outcome.kind === "wait" && outcome.for === "heartbeat" && agentReported(now, operation))
      ) {
        const insert = outcome.kind === "done" ? (outcome.insert ?? []) : [];
        const changed = change(tx, clock, now, { operation: advanced(operation, insert) });
        record(tx, changed, "node.step.done", { step: stepName(planned) });
        return changed;
      }
      if (outcome.kind === "wait") {
        const deadline = new Date(clock.wall().getTime() + outcome.timeout).toISOString();
        return moveState(tx, clock, now, "wait", {
          aim,
          fields: { operation: { ...operation, progress: { kind: "waiting", for: outcome.for, deadline } } },
        });
      }
      return moveState(tx, clock, now, "hold", { aim, fields: { operation: advanced(operation, []) } });
    });
    this.#waits.watch(node);
    return provisionStates[node.provisionState].kind === "working";
  }

  /** All steps are done: on to the state that was aimed at. True when another operation follows at once. */
  async #finish(node: Node, operation: Operation): Promise<boolean> {
    const { store, clock, log } = this.#parts;
    const follows = operation.kind === "delete";
    await store.commit((tx) => {
      const now = nodeOf(tx, node.uuid);
      const { event, fields } = ending(now, operation, instant(clock));
      const next = follows ? { ...this.plan(now, operation.verb, "clean"), id: operation.id } : null;
      moveState(tx, clock, now, event, { fields: { ...fields, operation: next } });
    });
    log.info("node.state", {
      node: node.uuid,
      operation: operation.id,
      state: nodeOf(store, node.uuid).provisionState,
    });
    return follows;
  }

  /** Stops what runs without failing it: each running step stays recorded and is resumed at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#waits[Symbol.dispose]();
    const running = [...this.#running.values()];
    for (const { controller } of running)
      controller.abort(new Fault("cancelled", "daemon.stopping", "the daemon is stopping"));
    await Promise.allSettled(running.map(({ ended }) => ended));
  }
}

/** The operation after its present step. */
function advanced(operation: Operation, insert: readonly PlannedStep[]): Operation {
  const done = operation.steps.slice(0, operation.index + 1);
  const left = operation.steps.slice(operation.index + 1);
  return {
    ...operation,
    steps: [...done, ...insertSteps(left, insert)],
    index: operation.index + 1,
    progress: { kind: "pending" },
    attempt: 0,
    kept: null,
    reached: 0,
  };
}

/** The agent may report before its wait is stored. */
function agentReported(node: Node, operation: Operation): boolean {
  const since = operation.progress.kind === "running" ? operation.progress.startedAt : null;
  const heartbeat = node.agent?.lastHeartbeat ?? null;
  return since !== null && heartbeat !== null && heartbeat >= since;
}

/** The event that ends an operation well, and what it leaves on the node. */
function ending(
  node: Node,
  operation: Operation,
  at: string,
): { readonly event: ProvisionEvent; readonly fields: Partial<Node> } {
  switch (operation.kind) {
    case "clean": {
      const manual = operation.verb === "clean" || node.retired;
      return { event: manual ? "manage" : "done", fields: { bootTarget: "none" } };
    }
    case "delete":
      return { event: "clean", fields: { instanceInfo: {}, instanceUuid: null, bootTarget: "none" } };
    case "inspect":
      return { event: "done", fields: { inspectionFinishedAt: at } };
    case "verify":
    case "deploy":
    case "service":
    case "rescue":
    case "unrescue":
    case "adopt":
      return { event: "done", fields: {} };
    default:
      return assertNever(operation.kind);
  }
}

function failureText(operation: Operation | null, step: PlannedStep | undefined, fault: Fault): string {
  if (operation?.kind === "verify") return `Failed to get power state for node: ${fault.message}`;
  return step === undefined ? fault.message : `${operation?.kind ?? "step"} step ${stepName(step)}: ${fault.message}`;
}
