import { Fault } from "../core/fault.ts";
import { orderSteps, type PlannedStep, type StepKind } from "../domain/operation.ts";
import type { Interfaces, PowerInterface, Step, StepInterface, Task } from "../driver/interfaces.ts";

/** Reading the power state is all that verification needs. */
function verifySteps(power: PowerInterface): readonly Step[] {
  return [
    {
      step: "verify_power",
      kinds: ["verify"],
      priority: 100,
      abortable: false,
      repeatable: true,
      run: async (context) => {
        await context.machine.learn({ powerState: await power.getPowerState(context, context) });
        return { kind: "done" };
      },
    },
  ];
}

function stepInterfaces(interfaces: Interfaces): readonly (readonly ["deploy" | "inspect", StepInterface])[] {
  return [
    ["deploy", interfaces.deploy],
    ["inspect", interfaces.inspect],
  ];
}

/** Asks the ramdisk which steps it offers; left out where the caller chose them. */
const STEP_DISCOVERY = "get_clean_steps";

/** The steps that drivers offer for `kind`, in their order, as they are recorded; with `chosen` in place of what the ramdisk would add. */
export function planSteps(
  interfaces: Interfaces,
  task: Task,
  kind: StepKind,
  chosen?: readonly PlannedStep[],
): readonly PlannedStep[] {
  const offered = [
    ...verifySteps(interfaces.power).map((step) => ["power", step] as const),
    ...stepInterfaces(interfaces).flatMap(([name, implementation]) =>
      implementation.steps.map((step) => [name, step] as const),
    ),
  ];
  return orderSteps([
    ...(chosen ?? []),
    ...offered
      .filter(([, step]) => step.kinds.includes(kind) && (step.when?.(task) ?? true))
      .filter(([, step]) => !(chosen !== undefined && step.step === STEP_DISCOVERY))
      .map(([name, step]) => ({
        interface: name,
        step: step.step,
        args: {},
        priority: step.priority,
        inBand: false,
        abortable: step.abortable,
      })),
  ]);
}

/** The code behind a recorded step. @throws Fault unsupported when today's drivers do not know it */
export function findStep(
  interfaces: Interfaces,
  planned: PlannedStep,
  kind: StepKind,
): Pick<Step, "run" | "repeatable"> {
  if (planned.inBand) {
    const run = interfaces.deploy.runInBand?.bind(interfaces.deploy);
    // The agent is asked which command runs, so beginning again joins it or repeats an erase, which does no harm.
    if (run !== undefined) return { repeatable: true, run: (context) => run(planned, kind, context) };
  } else {
    const steps =
      planned.interface === "power"
        ? verifySteps(interfaces.power)
        : planned.interface === "inspect"
          ? interfaces.inspect.steps
          : interfaces.deploy.steps;
    const found = steps.find((step) => step.step === planned.step && step.kinds.includes(kind));
    if (found !== undefined) return found;
  }
  throw new Fault(
    "unsupported",
    "step.unknown",
    `no driver of this node knows the ${kind} step ${planned.interface}.${planned.step}`,
  );
}

/** Steps learnt on the way, put among those that are left by priority. */
export function insertSteps(left: readonly PlannedStep[], learnt: readonly PlannedStep[]): readonly PlannedStep[] {
  return orderSteps([...left, ...learnt]);
}

export function stepName(step: PlannedStep): string {
  return `${step.interface}.${step.step}`;
}

/** What the operation works on, for validation before it begins. */
export function validateFor(interfaces: Interfaces, task: Task, kind: StepKind): void {
  interfaces.power.validate(task);
  if (kind === "verify" || kind === "delete") return;
  interfaces.management.validate(task);
  if (kind !== "inspect" || task.ports.length > 0) interfaces.boot.validate(task);
  interfaces.inspect.validate(task, kind);
  if (kind === "deploy") interfaces.storage.validate(task);
  interfaces.deploy.validate(task, kind);
}
