import type { Command } from "commander";
import { answerCode } from "../core/answer-codes.ts";
import type { Clock } from "../core/clock.ts";
import { Fault, toFault } from "../core/fault.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { Terminal } from "./terminal.ts";
import type { Transport } from "./transport.ts";

/** What a verb works with. */
export interface Context {
  readonly transport: Transport;
  readonly terminal: Terminal;
  readonly clock: Clock;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Only JSON on stdout. */
  readonly json: boolean;
  /** Calls one command of the rack. */
  readonly call: (method: string, params: JsonObject) => Promise<Json>;
}

/** What the program is made of; a test gives other ends. */
export interface CliParts {
  readonly terminal: Terminal;
  readonly clock: Clock;
  readonly interrupted: AbortSignal;
  /** Called once, with the exit status. */
  readonly exit: (status: number) => void;
}

/** Exit status when the rack did what was asked and it ended in a failed state. */
export const OPERATION_FAILED = 12;

export const EXIT_STATUS = `Exit status:
  0 done   1 internal error   2 wrong usage or input   3 not found   4 not possible in this state   5 busy
  6 refused   7 not supported   8 rack or broker not reachable   9 no answer in time   10 the rack's disk
  11 malformed answer   12 the operation failed on the machine   130 interrupted`;

/**
 * Runs one verb: opens the way to the rack, prints what the verb returns as JSON when asked to, and turns a fault into a
 * message and an exit status.
 */
export async function runVerb(
  parts: CliParts,
  open: () => Promise<Transport>,
  options: { readonly json?: boolean },
  verb: (context: Context) => Promise<Json | undefined>,
): Promise<void> {
  const { terminal, clock, interrupted: signal } = parts;
  const json = options.json === true;
  try {
    await using transport = await open();
    const call = async (method: string, params: JsonObject): Promise<Json> =>
      await transport.call(method, params, { signal });
    const result = await verb({ transport, terminal, clock, signal, json, call });
    if (json && result !== undefined) terminal.out(`${JSON.stringify(result)}\n`);
    parts.exit(0);
  } catch (error) {
    report(parts, toFault(error), json);
  }
}

/** Says what went wrong and sets the exit status. */
export function report(parts: CliParts, fault: Fault, json: boolean): void {
  const { kind, code, message, detail } = fault;
  if (json) parts.terminal.err(`${JSON.stringify({ error: { kind, code, message, detail } })}\n`);
  else parts.terminal.err(`ironrack: ${message}\n`);
  if (kind === "internal" && fault.stack !== undefined && fault.cause instanceof Error)
    parts.terminal.err(`${fault.cause.stack ?? ""}\n`);
  parts.exit(code === "operation.failed" ? OPERATION_FAILED : answerCode(kind).exit);
}

/** The machine did not do what was asked; the rack itself is well. */
export function operationFailed(message: string): Fault {
  return new Fault("refused", "operation.failed", message);
}

/** A way to the rack for one invocation, made from the options on the command line. */
export type OpenTransport = (command: Command) => Promise<Transport>;
