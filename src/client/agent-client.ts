import type { Clock } from "../core/clock.ts";
import { Fault, toFault } from "../core/fault.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import { millis, type Millis } from "../core/units.ts";
import { JsonHttp, type JsonAnswer } from "../net/json-http.ts";
import { type AgentCommand, decodeCommand, decodeCommands, faultText } from "../protocol/agent/command.ts";

/** Silence after which an agent that was reached before is given up. */
const LOST_AFTER = millis(120_000);
const PAUSE = millis(1_000);
const REQUEST_TIMEOUT = millis(90_000);

export interface AgentAddress {
  readonly callbackUrl: string;
  readonly token: string;
  /** PEM that the agent sent with its heartbeat; null where it speaks plain HTTP. */
  readonly verifyCa: string | null;
}

export interface RunOptions {
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly timeout: Millis;
}

/**
 * The command API of one ramdisk's agent. The token travels in the query, as the API wants it, and never into a log or an error.
 * @source ironic-python-agent api/app.py
 */
export class AgentClient {
  readonly #address: AgentAddress;
  readonly #clock: Clock;

  constructor(parts: { readonly address: AgentAddress; readonly clock: Clock }) {
    this.#address = parts.address;
    this.#clock = parts.clock;
  }

  /**
   * Runs a command to its end and gives its result. A command of that name that already runs is waited for instead, so a
   * request whose answer was lost, or a restarted daemon, begins nothing twice.
   * @throws Fault refused (the agent's words), unreachable, timeout, protocol
   */
  async run(command: string, params: JsonObject, options: RunOptions): Promise<JsonObject> {
    using deadline = this.#clock.deadline(options.timeout, options.signal);
    await using http = new JsonHttp({
      origin: new URL(this.#address.callbackUrl).origin,
      pinned: this.#address.verifyCa,
    });
    const call = { http, signal: deadline.signal, log: options.log };
    const running = (await this.#commands(call)).findLast((one) => one.name === command && one.status === "running");
    let present = running ?? (await this.#begin(command, params, call));
    options.log.info("agent.command", {
      command,
      id: present.id,
      reason: running === undefined ? "begun" : "was running already",
    });
    while (present.status === "running") present = await this.#poll(present, call);
    if (present.status !== "succeeded") throw failed(present);
    return present.result;
  }

  /** Lost requests are asked after, not repeated. */
  async #begin(command: string, params: JsonObject, call: Call): Promise<AgentCommand> {
    const known = new Set((await this.#commands(call)).map((one) => one.id));
    for (;;) {
      let answer: JsonAnswer;
      try {
        answer = await this.#request(
          call,
          "POST",
          `/v1/commands/?wait=false&agent_token=${encodeURIComponent(this.#address.token)}`,
          { name: command, params },
        );
      } catch (error) {
        if (toFault(error).kind !== "unreachable") throw error;
        const taken = (await this.#commands(call)).find((one) => one.name === command && !known.has(one.id));
        if (taken !== undefined) return taken;
        continue;
      }
      if (answer.status === 200) return decodeCommand(answer.body);
      if (answer.status !== 409) throw refused(command, answer);
      // Another command runs; ours comes after it.
      await this.#clock.sleep(PAUSE, call.signal);
    }
  }

  async #poll(command: AgentCommand, call: Call): Promise<AgentCommand> {
    const answer = await this.#persistently(call, `/v1/commands/${encodeURIComponent(command.id)}?wait=true`);
    if (answer.status === 404) {
      throw new Fault(
        "protocol",
        "agent.forgot",
        `the agent was restarted and no longer knows its command ${command.name}`,
        { retry: "now" },
      );
    }
    if (answer.status !== 200) throw refused(command.name, answer);
    const next = decodeCommand(answer.body);
    // An agent that does not hold the request open must not be asked without pause.
    if (next.status === "running") await this.#clock.sleep(PAUSE, call.signal);
    return next;
  }

  async #commands(call: Call): Promise<readonly AgentCommand[]> {
    const answer = await this.#persistently(call, "/v1/commands/");
    if (answer.status !== 200) throw refused("the list of commands", answer);
    return decodeCommands(answer.body);
  }

  /** Reads are repeated until the agent answers or has been silent too long. */
  async #persistently(call: Call, path: string): Promise<JsonAnswer> {
    const lostAt = this.#clock.now() + LOST_AFTER;
    for (;;) {
      try {
        return await this.#request(call, "GET", path);
      } catch (error) {
        const fault = toFault(error);
        const again = fault.kind === "unreachable" || (fault.kind === "timeout" && !call.signal.aborted);
        if (!again || (fault.kind === "unreachable" && this.#clock.now() >= lostAt)) throw fault;
        await this.#clock.sleep(PAUSE, call.signal);
      }
    }
  }

  async #request(call: Call, method: "GET" | "POST", path: string, body?: Json): Promise<JsonAnswer> {
    using deadline = this.#clock.deadline(REQUEST_TIMEOUT, call.signal);
    return await call.http.request(method, path, { signal: deadline.signal, ...(body === undefined ? {} : { body }) });
  }
}

interface Call {
  readonly http: JsonHttp;
  readonly signal: AbortSignal;
  readonly log: Log;
}

function refused(command: string, answer: JsonAnswer): Fault {
  const text = faultText(answer.body);
  return new Fault(
    "refused",
    `agent.http-${answer.status}`,
    `the agent refused ${command} (${answer.status}): ${text}`,
    { detail: { status: answer.status } },
  );
}

function failed(command: AgentCommand): Fault {
  return new Fault("refused", "agent.failed", `the agent's ${command.name} failed: ${command.error ?? command.status}`);
}
