/**
 * Ironic's provision state machine as data: one row per state, every property a column, so that no second list can disagree.
 * @source openstack/ironic 7bc6aba ironic/common/states.py: 30 states, 18 events, 93 edges
 */
// biome-ignore format: as a list
export type ProvisionState =
  | "enroll" | "verifying" | "manageable" | "available" | "deploying" | "wait call-back" | "deploy failed" | "deploy hold"
  | "active" | "deleting" | "cleaning" | "clean wait" | "clean failed" | "clean hold" | "error" | "inspecting"
  | "inspect wait" | "inspect failed" | "adopting" | "adopt failed" | "rescuing" | "rescue wait" | "rescue failed"
  | "rescue" | "unrescuing" | "unrescue failed" | "servicing" | "service wait" | "service failed" | "service hold";

// biome-ignore format: as a list
export type ProvisionEvent =
  | "manage" | "provide" | "clean" | "inspect" | "adopt" | "deploy" | "rebuild" | "delete" | "rescue" | "unrescue"
  | "service" | "abort" | "unhold" | "done" | "fail" | "wait" | "resume" | "hold";

/** What the state means for the machine's work. */
export type StateKind = "stable" | "working" | "waiting" | "holding" | "failed";

export interface StateRow {
  readonly kind: StateKind;
  /** Where the work leads; null where nothing is under way. */
  readonly target: ProvisionState | null;
  /** The state that a node found in this one gets when its work cannot be resumed after a restart; null: it stays. */
  readonly ifConductorLost: ProvisionState | null;
  /** Whether a ramdisk may look its node up (LOOKUP_ALLOWED). */
  readonly lookup: boolean;
  /** Whether an agent's heartbeat makes the conductor go on (HEARTBEAT_ALLOWED). */
  readonly heartbeat: boolean;
  /** Whether fields may be patched although a target is set (UPDATE_ALLOWED; stable states always may). */
  readonly update: boolean;
  /** Whether the node may be removed from here. */
  readonly remove: boolean;
  readonly on: Readonly<Partial<Record<ProvisionEvent, ProvisionState>>>;
}

const NEVER = { lookup: false, heartbeat: false, update: false, remove: false } as const;
const stable = { ...NEVER, kind: "stable", target: null, ifConductorLost: null, update: true } as const;

// biome-ignore format: a row a state, to be read as a table
export const provisionStates: Readonly<Record<ProvisionState, StateRow>> = {
  enroll: { ...stable, remove: true, on: { manage: "verifying" } },
  verifying: { ...NEVER, kind: "working", target: "manageable", ifConductorLost: "enroll", update: true, on: { done: "manageable", fail: "enroll" } },
  manageable: { ...stable, remove: true, on: { provide: "cleaning", clean: "cleaning", inspect: "inspecting", adopt: "adopting" } },
  available: { ...stable, remove: true, on: { deploy: "deploying", manage: "manageable" } },
  cleaning: { ...NEVER, kind: "working", target: "available", ifConductorLost: "clean failed", lookup: true, heartbeat: true, on: { done: "available", manage: "manageable", wait: "clean wait", hold: "clean hold", fail: "clean failed" } },
  "clean wait": { ...NEVER, kind: "waiting", target: "available", ifConductorLost: null, lookup: true, heartbeat: true, on: { resume: "cleaning", hold: "clean hold", fail: "clean failed", abort: "clean failed" } },
  "clean hold": { ...NEVER, kind: "holding", target: "available", ifConductorLost: null, heartbeat: true, on: { unhold: "clean wait", abort: "clean failed" } },
  "clean failed": { ...NEVER, kind: "failed", target: "available", ifConductorLost: null, update: true, on: { manage: "manageable" } },
  deploying: { ...NEVER, kind: "working", target: "active", ifConductorLost: "deploy failed", lookup: true, heartbeat: true, on: { done: "active", wait: "wait call-back", hold: "deploy hold", fail: "deploy failed" } },
  "wait call-back": { ...NEVER, kind: "waiting", target: "active", ifConductorLost: null, lookup: true, heartbeat: true, on: { resume: "deploying", hold: "deploy hold", fail: "deploy failed", abort: "deploy failed", delete: "deleting" } },
  "deploy hold": { ...NEVER, kind: "holding", target: "active", ifConductorLost: null, heartbeat: true, on: { unhold: "wait call-back", abort: "deploy failed" } },
  "deploy failed": { ...NEVER, kind: "failed", target: "active", ifConductorLost: null, update: true, on: { rebuild: "deploying", deploy: "deploying", delete: "deleting" } },
  active: { ...stable, on: { rebuild: "deploying", delete: "deleting", rescue: "rescuing", service: "servicing" } },
  deleting: { ...NEVER, kind: "working", target: "available", ifConductorLost: "error", on: { clean: "cleaning", fail: "error" } },
  error: { ...stable, on: { rebuild: "deploying", delete: "deleting" } },
  inspecting: { ...NEVER, kind: "working", target: "manageable", ifConductorLost: "inspect failed", lookup: true, update: true, on: { done: "manageable", wait: "inspect wait", fail: "inspect failed" } },
  "inspect wait": { ...NEVER, kind: "waiting", target: "manageable", ifConductorLost: null, lookup: true, update: true, on: { resume: "inspecting", done: "manageable", fail: "inspect failed", abort: "inspect failed" } },
  "inspect failed": { ...NEVER, kind: "failed", target: "manageable", ifConductorLost: null, update: true, on: { inspect: "inspecting", manage: "manageable" } },
  adopting: { ...NEVER, kind: "working", target: "active", ifConductorLost: "adopt failed", on: { done: "active", fail: "adopt failed" } },
  "adopt failed": { ...NEVER, kind: "failed", target: "active", ifConductorLost: null, update: true, remove: true, on: { adopt: "adopting", manage: "manageable" } },
  rescuing: { ...NEVER, kind: "working", target: "rescue", ifConductorLost: "rescue failed", lookup: true, heartbeat: true, on: { wait: "rescue wait", done: "rescue", fail: "rescue failed" } },
  "rescue wait": { ...NEVER, kind: "waiting", target: "rescue", ifConductorLost: null, lookup: true, heartbeat: true, on: { resume: "rescuing", fail: "rescue failed", abort: "rescue failed", delete: "deleting" } },
  "rescue failed": { ...NEVER, kind: "failed", target: "rescue", ifConductorLost: null, update: true, on: { rescue: "rescuing", unrescue: "unrescuing", delete: "deleting" } },
  rescue: { ...stable, on: { rescue: "rescuing", unrescue: "unrescuing", delete: "deleting" } },
  unrescuing: { ...NEVER, kind: "working", target: "active", ifConductorLost: "unrescue failed", on: { done: "active", fail: "unrescue failed" } },
  "unrescue failed": { ...NEVER, kind: "failed", target: "active", ifConductorLost: null, update: true, on: { rescue: "rescuing", unrescue: "unrescuing", delete: "deleting" } },
  servicing: { ...NEVER, kind: "working", target: "active", ifConductorLost: "service failed", heartbeat: true, on: { done: "active", wait: "service wait", hold: "service hold", fail: "service failed" } },
  "service wait": { ...NEVER, kind: "waiting", target: "active", ifConductorLost: null, lookup: true, heartbeat: true, on: { resume: "servicing", hold: "service hold", fail: "service failed", abort: "service failed", delete: "deleting" } },
  "service hold": { ...NEVER, kind: "holding", target: "active", ifConductorLost: null, heartbeat: true, update: true, on: { unhold: "service wait", service: "servicing", fail: "service failed", abort: "service failed" } },
  "service failed": { ...NEVER, kind: "failed", target: "active", ifConductorLost: null, update: true, on: { service: "servicing", rescue: "rescuing", wait: "service wait", hold: "service hold", delete: "deleting", abort: "active" } },
};

export type Transition =
  | { readonly ok: true; readonly state: ProvisionState; readonly target: ProvisionState | null }
  | { readonly ok: false; readonly from: ProvisionState; readonly event: ProvisionEvent };

/**
 * Where `event` leads from `from`. Total: what is not in the table is an answer, not an exception. `target` is the new
 * state's own; work with another aim (a manual clean) keeps its aim by passing it as `aim`.
 */
export function transition(from: ProvisionState, event: ProvisionEvent, aim?: ProvisionState): Transition {
  const state = provisionStates[from].on[event];
  if (state === undefined) return { ok: false, from, event };
  const target = provisionStates[state].target;
  return { ok: true, state, target: target === null ? null : (aim ?? target) };
}

export function isProvisionState(text: string): text is ProvisionState {
  return Object.hasOwn(provisionStates, text);
}

/** The verbs of PUT states/provision and the event each fires. @source IRONIC API, states.py VERBS */
export const provisionVerbs = {
  active: "deploy",
  deploy: "deploy",
  rebuild: "rebuild",
  deleted: "delete",
  undeploy: "delete",
  manage: "manage",
  provide: "provide",
  inspect: "inspect",
  abort: "abort",
  clean: "clean",
  adopt: "adopt",
  rescue: "rescue",
  unrescue: "unrescue",
  unhold: "unhold",
  service: "service",
} as const satisfies Record<string, ProvisionEvent>;

export type ProvisionVerb = keyof typeof provisionVerbs;
