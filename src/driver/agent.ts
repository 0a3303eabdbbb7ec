import { Fault } from "../core/fault.ts";
import type { JsonObject } from "../core/json.ts";
import type { Millis } from "../core/units.ts";
import type { Node } from "../domain/node.ts";
import type { CallOptions } from "./interfaces.ts";

/** The ramdisk's agent, as steps use it. @source ironic-python-agent's command API (`POST /v1/commands`) */
export interface Agent {
  /**
   * Runs a command to its end and gives its result; one of the same name that already runs is waited for instead.
   * @throws Fault refused (the command failed; the agent's words), unreachable, timeout
   */
  run(command: string, params: JsonObject, options: CallOptions & { readonly timeout: Millis }): Promise<JsonObject>;
}

export type AgentConnector = (address: {
  readonly callbackUrl: string;
  readonly token: string;
  readonly verifyCa: string | null;
}) => Agent;

/** The agent of a node that has reported. @throws Fault conflict when none has since the machine was started */
export function agentOf(node: Node, connect: AgentConnector): Agent {
  const record = node.agent;
  if (record === null || record.callbackUrl === null) {
    throw new Fault("conflict", "agent.absent", "no agent has reported from this machine since it was started");
  }
  return connect({ callbackUrl: record.callbackUrl, token: record.token, verifyCa: record.verifyCa });
}
