import type { JsonObject } from "../core/json.ts";
import type { InterfaceName } from "./node.ts";
import type { ProvisionVerb } from "./provision-state.ts";

/** The kinds of work that run as steps. */
export type StepKind =
  | "verify"
  | "inspect"
  | "clean"
  | "deploy"
  | "delete"
  | "service"
  | "rescue"
  | "unrescue"
  | "adopt";

/** One step of a plan, as it is recorded before it runs. */
export interface PlannedStep {
  readonly interface: InterfaceName;
  readonly step: string;
  readonly args: JsonObject;
  readonly priority: number;
  /** The step runs in the ramdisk's agent, not here. */
  readonly inBand: boolean;
  readonly abortable: boolean;
}

export type StepProgress =
  | { readonly kind: "pending" } // recorded, not begun
  | { readonly kind: "running"; readonly startedAt: string }
  /** Until the agent reports or `deadline` (UTC) passes. */
  | { readonly kind: "waiting"; readonly for: WaitReason; readonly deadline: string };

export type WaitReason = "heartbeat" | "inspection";

/** Work under way on a node; stored with the node, in the same batch as the state that announces it. */
export interface Operation {
  readonly id: string;
  readonly verb: ProvisionVerb;
  readonly kind: StepKind;
  readonly steps: readonly PlannedStep[];
  /** The step that runs or comes next; `steps.length` when all are done. */
  readonly index: number;
  readonly progress: StepProgress;
  readonly startedAt: string;
  /** How often the present step was begun since it last came further; a resumed step counts again. */
  readonly attempt: number;
  /** What the present step noted so that its next attempt goes on from there; null: nothing. */
  readonly kept: JsonObject | null;
  /** The furthest that the present step ever was when it noted something; absent in what older versions stored. */
  readonly reached?: number;
}

/** Ironic's order of steps of equal priority. @source conductor/steps.py */
const RANK: Readonly<Partial<Record<InterfaceName, number>>> = {
  network: 8,
  vendor: 7,
  power: 6,
  management: 5,
  firmware: 4,
  deploy: 3,
  bios: 2,
  raid: 1,
};

/** By priority, then by interface, both falling; otherwise the order is kept. */
export function orderSteps(steps: readonly PlannedStep[]): readonly PlannedStep[] {
  return steps.toSorted((a, b) => b.priority - a.priority || (RANK[b.interface] ?? 0) - (RANK[a.interface] ?? 0));
}
