import { Fault } from "../../core/fault.ts";
import { isJsonObject, type Json, type JsonObject, objectProperty, property, stringProperty } from "../../core/json.ts";

/** A command of the ramdisk's agent and how it ended. @source ironic-python-agent extensions/base.py; IRONIC.md 3.15 */
export interface AgentCommand {
  readonly id: string;
  readonly name: string;
  readonly status: "running" | "succeeded" | "failed" | "version-mismatch";
  readonly result: JsonObject;
  readonly error: string | null;
}

const STATUS: ReadonlyMap<string, AgentCommand["status"]> = new Map([
  ["RUNNING", "running"],
  ["SUCCEEDED", "succeeded"],
  ["FAILED", "failed"],
  ["CLEAN_VERSION_MISMATCH", "version-mismatch"],
]);

function malformed(field: string): Fault {
  return new Fault("malformed", "agent.answer", `the agent's answer has no usable ${field}`, { detail: { field } });
}

/** @throws Fault malformed (names the field) */
export function decodeCommand(value: Json): AgentCommand {
  if (!isJsonObject(value)) throw malformed("object");
  const id = stringProperty(value, "id");
  const name = stringProperty(value, "command_name");
  const status = STATUS.get(stringProperty(value, "command_status") ?? "");
  if (id === undefined) throw malformed("id");
  if (name === undefined) throw malformed("command_name");
  if (status === undefined) throw malformed("command_status");
  return {
    id,
    name,
    status,
    result: objectProperty(value, "command_result") ?? {},
    error: errorText(property(value, "command_error")),
  };
}

export function decodeCommands(value: Json): readonly AgentCommand[] {
  const list = isJsonObject(value) ? property(value, "commands") : undefined;
  if (!Array.isArray(list)) throw malformed("commands");
  return (list as readonly Json[]).map(decodeCommand);
}

function errorText(error: Json | undefined): string | null {
  if (error === undefined || error === null) return null;
  if (!isJsonObject(error)) return typeof error === "string" ? error : JSON.stringify(error);
  const message = stringProperty(error, "message");
  const details = stringProperty(error, "details");
  if (message === undefined) return details ?? JSON.stringify(error);
  return details === undefined || details === message ? message : `${message}: ${details}`;
}

/** The words of an HTTP error body: {faultstring}, {error_message} or text. */
export function faultText(body: Json | string): string {
  if (typeof body === "string") return body.slice(0, 300);
  if (!isJsonObject(body)) return JSON.stringify(body).slice(0, 300);
  return stringProperty(body, "faultstring") ?? stringProperty(body, "message") ?? JSON.stringify(body).slice(0, 300);
}
