import { answerCodes, faultOfAnswer, isFaultKind, rpcCode } from "../core/answer-codes.ts";
import { Fault, type FaultDetail, type FaultKind } from "../core/fault.ts";
import { isJsonObject, objectProperty, property, stringProperty, type Json, type JsonObject } from "../core/json.ts";

/** Chosen by the caller; null where the request was too broken to tell. */
export type RpcId = string | number | null;

/** @source JSON-RPC 2.0 §4 */
export interface RpcRequest {
  /** undefined: a notification, which gets no answer. */
  readonly id: RpcId | undefined;
  readonly method: string;
  readonly params: Json | undefined;
}

export type RpcOutcome =
  | { readonly ok: true; readonly result: Json }
  | {
      readonly ok: false;
      readonly kind: string;
      readonly code: string;
      readonly message: string;
      readonly detail: JsonObject;
    };

export interface RpcReply {
  readonly id: RpcId;
  readonly outcome: RpcOutcome;
}

/** What a text asks for: each entry a request, or the fault that its place in the batch gets as its answer. */
export interface RpcCall {
  readonly batch: boolean;
  readonly entries: readonly (RpcRequest | { readonly id: RpcId; readonly fault: Fault })[];
}

/** Deeper input is refused, so that no walk over it runs out of stack. */
const DEEPEST = 64;

/**
 * A JSON text as one request or a batch. Never throws: what is not JSON-RPC becomes an entry with its fault.
 * @source JSON-RPC 2.0 §4, §6
 */
export function decodeCall(text: string): RpcCall {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (fault) {
    return { batch: false, entries: [{ id: null, fault: fault as Fault }] };
  }
  if (!Array.isArray(value)) return { batch: false, entries: [decodeRequest(value)] };
  if (value.length === 0)
    return { batch: false, entries: [{ id: null, fault: badRequest("a batch must not be empty") }] };
  return { batch: true, entries: value.map(decodeRequest) };
}

/** @throws Fault malformed */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Fault("malformed", "json", `not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  if (tooDeep(value)) throw new Fault("malformed", "json.depth", `JSON nested deeper than ${DEEPEST} levels`);
  return value;
}

function tooDeep(root: unknown): boolean {
  let level: unknown[] = [root];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST) return true;
    level = level.flatMap((value) => (typeof value === "object" && value !== null ? Object.values(value) : []));
  }
  return false;
}

function badRequest(message: string): Fault {
  return new Fault("invalid", "request.invalid", `not a JSON-RPC 2.0 request: ${message}`);
}

function decodeRequest(value: unknown): RpcRequest | { readonly id: RpcId; readonly fault: Fault } {
  if (!isJsonObject(value)) return { id: null, fault: badRequest("it must be an object") };
  const given = property(value, "id");
  const id = typeof given === "string" || typeof given === "number" ? given : null;
  const method = stringProperty(value, "method");
  const params = property(value, "params");
  if (property(value, "jsonrpc") !== "2.0") return { id, fault: badRequest('jsonrpc must be "2.0"') };
  if (given !== undefined && given !== null && id === null)
    return { id, fault: badRequest("id must be a string or a number") };
  if (method === undefined) return { id, fault: badRequest("method must be a string") };
  if (params !== undefined && (typeof params !== "object" || params === null)) {
    return { id, fault: badRequest("params must be an object") };
  }
  return { id: given === undefined ? undefined : id, method, params };
}

export function encodeRequest(request: RpcRequest): string {
  return JSON.stringify({ jsonrpc: "2.0", id: request.id, method: request.method, params: request.params ?? {} });
}

/** The failure as an answer carries it. */
export function failed(fault: Fault): RpcOutcome {
  return { ok: false, kind: fault.kind, code: fault.code, message: fault.message, detail: { ...fault.detail } };
}

/** The reply as a JSON value; `error.data` carries the fault's own words beside the number. */
export function replyJson(reply: RpcReply): JsonObject {
  const { id, outcome } = reply;
  if (outcome.ok) return { jsonrpc: "2.0", id, result: outcome.result };
  const { kind, code, message, detail } = outcome;
  return { jsonrpc: "2.0", id, error: { code: rpcCode(kind, code), message, data: { kind, code, detail } } };
}

export function encodeReply(reply: RpcReply): string {
  return JSON.stringify(replyJson(reply));
}

/** @throws Fault malformed when the text is not a reply */
export function decodeReply(text: string): RpcReply {
  const value = parseJson(text);
  if (!isJsonObject(value) || property(value, "jsonrpc") !== "2.0")
    throw new Fault("malformed", "reply", "not a JSON-RPC 2.0 reply");
  const given = property(value, "id");
  const id = typeof given === "string" || typeof given === "number" ? given : null;
  const error = objectProperty(value, "error");
  if (error === undefined) {
    const result = property(value, "result");
    if (result === undefined) throw new Fault("malformed", "reply", "a JSON-RPC reply with neither result nor error");
    return { id, outcome: { ok: true, result } };
  }
  const data = objectProperty(error, "data") ?? {};
  const number = property(error, "code");
  const kind = stringProperty(data, "kind") ?? kindOfRpcCode(typeof number === "number" ? number : 0);
  return {
    id,
    outcome: {
      ok: false,
      kind,
      code: stringProperty(data, "code") ?? kind,
      message: stringProperty(error, "message") ?? "no reason was given",
      detail: objectProperty(data, "detail") ?? {},
    },
  };
}

/** The result, or the failure thrown as the fault that it was at the other end. */
export function resultOf(reply: RpcReply): Json {
  if (reply.outcome.ok) return reply.outcome.result;
  throw faultOfAnswer({ ...reply.outcome, detail: scalars(reply.outcome.detail) });
}

function kindOfRpcCode(code: number): FaultKind {
  const found = Object.entries(answerCodes).find(([, row]) => row.rpc === code)?.[0];
  return found !== undefined && isFaultKind(found) ? found : "internal";
}

function scalars(detail: JsonObject): FaultDetail {
  const kept: Record<string, string | number | boolean | null> = {};
  for (const [key, value] of Object.entries(detail)) {
    if (value === null || typeof value !== "object") kept[key] = value;
  }
  return kept;
}
