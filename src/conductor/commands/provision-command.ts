import { Type } from "typebox";
import { instant } from "../../core/clock.ts";
import { Fault, invalid } from "../../core/fault.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Node } from "../../domain/node.ts";
import type { PlannedStep, StepKind } from "../../domain/operation.ts";
import { type ProvisionEvent, type ProvisionVerb, provisionVerbs, transition } from "../../domain/provision-state.ts";
import type { Transaction } from "../../domain/store.ts";
import { type Command, command, type CommandContext } from "../catalogue.ts";
import { illegal, moveState, nodeOf } from "../node-changes.ts";
import { validateFor } from "../step-plan.ts";
import { taskOf } from "../task.ts";
import { type ConductorParts, findNode } from "./parts.ts";
import { acceptedResult, closed, freeObject, nodeIdent, oneOf } from "./schemas.ts";

const params = Type.Object(
  {
    node: nodeIdent,
    target: oneOf(Object.keys(provisionVerbs) as ProvisionVerb[]),
    configdrive: Type.Optional(
      Type.Union([Type.String(), freeObject], {
        description:
          "with active and rebuild: meta_data, user_data, network_data; or base64 of a gzipped ISO 9660; or a URL",
      }),
    ),
    clean_steps: Type.Optional(
      Type.Array(
        Type.Object(
          {
            interface: oneOf(["vendor", "power", "management", "firmware", "deploy", "bios", "raid"]),
            step: Type.String({ minLength: 1 }),
            args: Type.Optional(freeObject),
          },
          closed,
        ),
        {
          minItems: 1,
          description: "with clean: the ramdisk's steps to run, in this order; without it those of automated cleaning",
        },
      ),
    ),
  },
  closed,
);

/** Between booting the ramdisk and taking it down, in the caller's order. @source Ironic: manual cleaning keeps the order */
const FIRST_CHOSEN = 500;

/** The work behind a verb; verbs that are missing here have none yet and say so. */
const KINDS: Readonly<Partial<Record<ProvisionVerb, StepKind>>> = {
  manage: "verify",
  inspect: "inspect",
  provide: "clean",
  clean: "clean",
  active: "deploy",
  deploy: "deploy",
  rebuild: "deploy",
  deleted: "delete",
  undeploy: "delete",
};

/** PUT states/provision: the one verb for a node's life. */
export function provisionCommand(parts: ConductorParts): Command {
  return command({
    name: "node.set_provision_state",
    summary:
      "Manage, inspect, provide, deploy, undeploy, clean or abort; answers at once, the events tell how it goes on",
    changes: true,
    params,
    result: acceptedResult,
    handle: async ({ node: ident, target, configdrive, clean_steps: cleanSteps }, context) => {
      const { uuid } = findNode(parts.store.nodes, ident);
      const event = provisionVerbs[target];
      if (configdrive !== undefined && event !== "deploy" && event !== "rebuild")
        throw invalid("configdrive", "goes with active and rebuild only");
      if (cleanSteps !== undefined && target !== "clean") throw invalid("clean_steps", "goes with clean only");
      const chosen = cleanSteps?.map(
        (one, index): PlannedStep => ({
          interface: one.interface,
          step: one.step,
          args: one.args ?? {},
          priority: FIRST_CHOSEN - index,
          inBand: true,
          abortable: false,
        }),
      );
      // What is not possible is said at once, also while the node is locked for something else.
      requireEdge(nodeOf(parts.store, uuid), event);
      if (event === "abort") return await abort(parts, nodeOf(parts.store, uuid), context);
      const lock = await parts.locks.acquire(uuid, target, parts.settings.lockWait);
      try {
        const node = nodeOf(parts.store, uuid);
        requireEdge(node, event);
        const withDrive =
          configdrive === undefined
            ? node
            : {
                ...node,
                instanceInfo: {
                  ...node.instanceInfo,
                  configdrive: typeof configdrive === "string" ? configdrive : JSON.stringify(configdrive),
                },
              };
        const result = await begin(parts, withDrive, { verb: target, event, chosen }, context);
        if (result.operation === null) lock.release();
        else parts.runner.start(uuid, lock);
        return result;
      } catch (error) {
        lock.release();
        throw error;
      }
    },
  });
}

type Accepted = {
  readonly operation: string | null;
  readonly provision_state: string;
  readonly target_provision_state: string | null;
};

function accepted(node: Node): {
  operation: string | null;
  provision_state: string;
  target_provision_state: string | null;
} {
  return {
    operation: node.operation?.id ?? null,
    provision_state: node.provisionState,
    target_provision_state: node.targetProvisionState,
  };
}

function requireEdge(node: Node, event: ProvisionEvent): void {
  if (!transition(node.provisionState, event).ok) throw illegal(node, event);
}

/** Stores the state that announces the work, and the work. */
async function begin(
  parts: ConductorParts,
  node: Node,
  request: {
    readonly verb: ProvisionVerb;
    readonly event: ProvisionEvent;
    readonly chosen: readonly PlannedStep[] | undefined;
  },
  context: CommandContext,
): Promise<Accepted & JsonObject> {
  const { verb, event, chosen } = request;
  guard(node, event);
  const next = transition(node.provisionState, event);
  const working = next.ok && next.target !== null;
  const kind = KINDS[verb];
  if (working && kind === undefined)
    throw new Fault("unsupported", "verb.unsupported", `"${verb}" is not supported yet`);
  if (working && kind !== undefined) validateFor(parts.drivers.interfacesOf(node), taskOf(parts.store, node), kind);
  return await context.commit((tx) => {
    const operation = working && kind !== undefined ? parts.runner.plan(node, verb, kind, chosen) : null;
    if (kind === "inspect") tx.inventory.delete(node.uuid);
    const moved = moveState(tx, parts.clock, nodeOf(tx, node.uuid), event, {
      aim: verb === "clean" ? "manageable" : undefined,
      fields: {
        operation,
        lastError: null,
        instanceInfo: node.instanceInfo,
        ...(kind === "inspect" ? { inspectionStartedAt: instant(parts.clock), inspectionFinishedAt: null } : {}),
      },
    });
    return accepted(moved);
  });
}

/** @source IRONIC API: order of checks for PUT states/provision */
function guard(node: Node, event: ProvisionEvent): void {
  if (node.maintenance && (event === "deploy" || event === "rebuild")) {
    throw new Fault(
      "conflict",
      "node.maintenance",
      `the node is in maintenance${node.maintenanceReason === null ? "" : ` (${node.maintenanceReason})`}; end that first`,
    );
  }
  if (node.protected && (event === "delete" || event === "rebuild"))
    throw new Fault("conflict", "node.protected", "the node is protected; clear `protected` first");
  if (node.retired && event === "provide")
    throw new Fault("conflict", "node.retired", "the node is retired; clear `retired` first");
}

/** Ends a waiting or held operation. */
async function abort(parts: ConductorParts, node: Node, context: CommandContext): Promise<Accepted & JsonObject> {
  using _lock = await parts.locks.acquire(node.uuid, "abort", parts.settings.lockWait);
  requireEdge(nodeOf(parts.store, node.uuid), "abort");
  await parts.runner.fail(
    node.uuid,
    new Fault("cancelled", "aborted", "the operation was aborted by request"),
    "abort",
  );
  return await context.commit((tx: Transaction) => accepted(nodeOf(tx, node.uuid)));
}
