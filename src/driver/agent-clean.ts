import { Fault } from "../core/fault.ts";
import { isJsonObject, type Json, type JsonObject, numberProperty, stringProperty } from "../core/json.ts";
import { millis, type Millis } from "../core/units.ts";
import type { InterfaceName } from "../domain/node.ts";
import type { PlannedStep, StepKind } from "../domain/operation.ts";
import { agentOf, type AgentConnector } from "./agent.ts";
import type { Step, StepContext, StepOutcome } from "./interfaces.ts";

const GET_STEPS_TIMEOUT = millis(60_000);
/** A whole-disk erase takes as long as the disk is large. */
const IN_BAND_TIMEOUT = millis(48 * 3600_000);

/** What cleaning in the ramdisk needs from outside. */
export interface AgentCleanOptions {
  readonly connect: AgentConnector;
  readonly callbackTimeout: Millis;
  /** Priorities that replace the agent's own, by step name; 0 leaves the step out. */
  readonly priorities: Readonly<Record<string, number>>;
}

/** Steps with fixed places around the ones that the ramdisk offers: boot it, ask it, take it down. */
export function agentCleanSteps(options: AgentCleanOptions): readonly Step[] {
  const common = { kinds: ["clean"] as const, abortable: true, repeatable: true };
  return [
    {
      ...common,
      step: "prepare_cleaning",
      priority: 1000,
      run: (context) => bootAgent(context, options.callbackTimeout),
    },
    { ...common, step: "get_clean_steps", priority: 999, run: (context) => learnSteps(context, options) },
    {
      ...common,
      step: "tear_down_cleaning",
      priority: -1,
      run: async ({ machine }) => {
        await machine.setBootTarget("none");
        await machine.power("power off");
        return { kind: "done" };
      },
    },
  ];
}

/** Boots the ramdisk unless its agent is alive already (fast track). */
export async function bootAgent(context: StepContext, timeout: Millis): Promise<StepOutcome> {
  if (context.machine.agentIsAlive()) return { kind: "done" };
  await context.machine.bootRamdisk();
  return { kind: "wait", for: "heartbeat", timeout };
}

async function learnSteps(context: StepContext, options: AgentCleanOptions): Promise<StepOutcome> {
  const agent = agentOf(context.node, options.connect);
  const result = await agent.run("clean.get_clean_steps", machineArguments(context), {
    signal: context.signal,
    log: context.log,
    timeout: GET_STEPS_TIMEOUT,
  });
  return { kind: "done", insert: plannedSteps(result["clean_steps"], options.priorities) };
}

/** The agent's answer {manager: [step]} as planned steps; those of priority 0 are not run by themselves. */
function plannedSteps(answer: Json | undefined, priorities: Readonly<Record<string, number>>): readonly PlannedStep[] {
  if (!isJsonObject(answer)) throw new Fault("protocol", "agent.steps", "the agent's clean_steps are not an object");
  return Object.values(answer)
    .flatMap((steps) => (Array.isArray(steps) ? (steps as readonly Json[]) : []))
    .filter(isJsonObject)
    .flatMap((offered): PlannedStep[] => {
      const step = stringProperty(offered, "step");
      if (step === undefined) return [];
      const priority = priorities[step] ?? numberProperty(offered, "priority") ?? 0;
      const name = (stringProperty(offered, "interface") ?? "deploy") as InterfaceName;
      return [{ interface: name, step, args: {}, priority, inBand: true, abortable: offered["abortable"] === true }];
    })
    .filter((step) => step.priority > 0);
}

/** Runs one step in the ramdisk. */
export async function runInBandStep(
  planned: PlannedStep,
  kind: StepKind,
  context: StepContext,
  connect: AgentConnector,
): Promise<StepOutcome> {
  const agent = agentOf(context.node, connect);
  const extension = kind === "deploy" ? "deploy" : kind === "service" ? "service" : "clean";
  await agent.run(
    `${extension}.execute_${extension}_step`,
    {
      step: { interface: planned.interface, step: planned.step, args: planned.args, priority: planned.priority },
      ...machineArguments(context),
      [`${extension}_version`]: {},
    },
    { signal: context.signal, log: context.log, timeout: IN_BAND_TIMEOUT },
  );
  return { kind: "done" };
}

/** Node and ports as the agent's commands take them; nothing secret. */
export function machineArguments(context: StepContext): JsonObject {
  const { node, ports } = context;
  return {
    node: {
      uuid: node.uuid,
      name: node.name,
      properties: node.properties,
      driver_internal_info: {},
      instance_info: {},
    },
    ports: ports.map((port) => ({ uuid: port.uuid, address: port.address, pxe_enabled: port.pxeEnabled })),
  };
}
