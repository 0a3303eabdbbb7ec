import { Fault, isFault, toFault } from "../core/fault.ts";
import {
  isJsonObject,
  numberProperty,
  objectProperty,
  stringProperty,
  type Json,
  type JsonObject,
} from "../core/json.ts";
import { seconds, type Millis } from "../core/units.ts";
import type { HistoryEntry } from "../domain/history.ts";
import { isProvisionState, provisionStates, type ProvisionState } from "../domain/provision-state.ts";
import { type Context, operationFailed } from "./context.ts";
import { durationWords, eventLine, progressWords } from "./event-words.ts";
import { parseEventList } from "./event-json.ts";

/** What a node is to become, and what it means when it becomes something else. */
export type Goal = (node: JsonObject) => "reached" | "missed" | "under way";

/** Reached when the node rests in `state`; missed when it rests elsewhere or its work failed. */
export function stateGoal(state: ProvisionState): Goal {
  return (node) => {
    const present = stringProperty(node, "provision_state") ?? "";
    if (!isProvisionState(present)) return "under way";
    const { kind } = provisionStates[present];
    if (kind === "working" || kind === "waiting" || kind === "holding") return "under way";
    return present === state ? "reached" : "missed";
  };
}

/** Reached when nothing is under way any more, whatever the state. */
export const restGoal: Goal = (node) => {
  const present = stringProperty(node, "provision_state") ?? "";
  if (!isProvisionState(present)) return "under way";
  const { kind } = provisionStates[present];
  return kind === "stable" || kind === "failed" ? "reached" : "under way";
};

/** Reached when the wanted power change is no longer pending and the power is as wanted. */
export function powerGoal(state: "power on" | "power off"): Goal {
  return (node) => {
    if (stringProperty(node, "target_power_state") !== undefined) return "under way";
    return stringProperty(node, "power_state") === state ? "reached" : "missed";
  };
}

/** The node is asked for at least so often, should an event be lost. */
const POLL = seconds(3);
/** For good: the conductor's own deadlines end every operation long before. */
const LONGEST = seconds(24 * 3600);

/** The sequence number of the newest event, to follow from. */
export async function newestSeq(context: Context): Promise<number> {
  return parseEventList(await context.call("event.list", { after: Number.MAX_SAFE_INTEGER, limit: 1 })).lastSeq;
}

/**
 * Waits until the node has come to the goal, showing on the way what happens, and returns the node. Survives a restart of the
 * daemon and of the broker. @throws Fault operation.failed with the node's last error, timeout, cancelled on Ctrl-C
 */
export async function followNode(
  context: Context,
  options: { readonly node: string; readonly goal: Goal; readonly after: number; readonly timeout: Millis | undefined },
): Promise<JsonObject> {
  const { clock, transport } = context;
  using deadline = clock.deadline(options.timeout ?? LONGEST, context.signal);
  const ended = new AbortController();
  const signal = AbortSignal.any([deadline.signal, ended.signal]);
  const progress = new Progress(context);
  const poke = new Poke();
  const events = showEvents(context, { ...options, signal, progress, poke });
  try {
    for (;;) {
      const node = await ask(transport.call("node.show", { node: options.node }, { signal, timeout: seconds(30) }));
      if (node !== undefined) {
        progress.node(node);
        const state = options.goal(node);
        if (state === "reached") return node;
        if (state === "missed") throw missed(node);
      }
      const patience = clock.deadline(POLL, signal);
      await poke.wait(patience.signal);
      patience[Symbol.dispose]();
      if (deadline.signal.aborted) throw toFault(deadline.signal.reason);
    }
  } catch (error) {
    if (context.signal.aborted) throw interrupted(options.node);
    if (deadline.signal.aborted) throw tooLate(options.node, options.timeout);
    throw error;
  } finally {
    ended.abort(new Fault("cancelled", "followed", "the node is there"));
    await events;
    progress.clear();
  }
}

/** The node, or undefined when the rack is away for a moment. */
async function ask(answer: Promise<Json>): Promise<JsonObject | undefined> {
  try {
    const node = await answer;
    return isJsonObject(node) ? node : undefined;
  } catch (error) {
    if (isFault(error) && (error.kind === "unreachable" || error.kind === "timeout")) return undefined;
    throw error;
  }
}

async function showEvents(
  context: Context,
  options: {
    readonly node: string;
    readonly after: number;
    readonly signal: AbortSignal;
    readonly progress: Progress;
    readonly poke: Poke;
  },
): Promise<void> {
  let { after } = options;
  while (!options.signal.aborted) {
    try {
      for await (const event of context.transport.events(after, options.signal)) {
        after = event.seq;
        if (event.node !== options.node && event.name !== options.node) continue;
        options.progress.event(event);
        if (event.type !== "node.step.progress") options.poke.now();
      }
    } catch {
      // The asking goes on without events, and says what is wrong if something is.
      await context.clock.sleep(seconds(1), options.signal).catch(() => undefined);
    }
  }
}

function missed(node: JsonObject): Fault {
  const name = stringProperty(node, "name") ?? stringProperty(node, "uuid") ?? "the node";
  const reason = stringProperty(node, "last_error") ?? "no reason was recorded";
  return operationFailed(
    `${name} is "${stringProperty(node, "provision_state") ?? "?"}", ${stringProperty(node, "power_state") ?? "power unknown"}: ${reason}; see: ironrack node history ${name}`,
  );
}

function interrupted(node: string): Fault {
  return new Fault(
    "cancelled",
    "interrupted",
    `interrupted; the operation goes on in the rack. See: ironrack node show ${node}`,
  );
}

function tooLate(node: string, timeout: Millis | undefined): Fault {
  const waited = durationWords(timeout ?? LONGEST);
  return new Fault(
    "timeout",
    "wait.timeout",
    `not done within ${waited}; the operation goes on in the rack. See: ironrack node show ${node}`,
  );
}

/** Wakes the asking early. */
class Poke {
  #pending = false;
  #wake: (() => void) | undefined;

  now(): void {
    this.#pending = true;
    this.#wake?.();
  }

  async wait(signal: AbortSignal): Promise<void> {
    if (!this.#pending && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    this.#pending = false;
  }
}

/** On a terminal one line that is redrawn; otherwise, unless JSON is wanted, a line per event. */
class Progress {
  readonly #context: Context;
  readonly #started: Millis;
  #drawn = false;
  #line = "";
  #stream = "";

  constructor(context: Context) {
    this.#context = context;
    this.#started = context.clock.now();
  }

  node(node: JsonObject): void {
    const operation = objectProperty(node, "operation");
    const index = operation === undefined ? undefined : numberProperty(operation, "index");
    const count = operation === undefined ? undefined : numberProperty(operation, "count");
    const step = operation === undefined ? undefined : stringProperty(operation, "step");
    const steps = step === undefined || index === undefined ? "" : `  ${step} (${index + 1}/${count ?? "?"})`;
    this.#line = `${stringProperty(node, "name") ?? stringProperty(node, "uuid") ?? ""}  ${stringProperty(node, "provision_state") ?? "?"}${steps}`;
    this.#draw();
  }

  event(event: HistoryEntry): void {
    if (event.type === "node.step.progress") {
      this.#stream = progressWords(event.data["bytes"], event.data["total"], event.data["mb_s"]) ?? "";
      this.#draw();
      return;
    }
    this.#stream = "";
    if (this.#context.json && this.#context.terminal.errWidth === undefined) return;
    this.clear();
    this.#context.terminal.err(`${eventLine(event)}\n`);
  }

  #draw(): void {
    const { terminal, clock } = this.#context;
    if (terminal.errWidth === undefined) return;
    const text = [this.#line, this.#stream, durationWords(clock.now() - this.#started)]
      .filter((part) => part !== "")
      .join("  ");
    terminal.err(`\r\u001b[K${text.slice(0, terminal.errWidth - 1)}`);
    this.#drawn = true;
  }

  clear(): void {
    if (this.#drawn) this.#context.terminal.err("\r\u001b[K");
    this.#drawn = false;
  }
}
