import { Fault, type FaultDetail, type FaultKind } from "./fault.ts";

/** How one kind of failure looks at each front door. */
export interface AnswerCode {
  /** The `error.code` of a JSON-RPC answer, on the CLI's socket and on MQTT. */
  readonly rpc: number;
  /** The status of a REST answer. */
  readonly http: number;
  /** The exit status of the CLI. */
  readonly exit: number;
}

/** The one table from what went wrong to what the caller sees. JSON-RPC 2.0 reserves -32768 to -32000; -32099 to -32000 are ours. */
export const answerCodes: Readonly<Record<FaultKind, AnswerCode>> = {
  malformed: { rpc: -32700, http: 400, exit: 11 },
  invalid: { rpc: -32602, http: 400, exit: 2 },
  internal: { rpc: -32603, http: 500, exit: 1 },
  "not-found": { rpc: -32001, http: 404, exit: 3 },
  conflict: { rpc: -32002, http: 409, exit: 4 },
  busy: { rpc: -32003, http: 409, exit: 5 },
  refused: { rpc: -32004, http: 403, exit: 6 },
  unsupported: { rpc: -32005, http: 400, exit: 7 },
  unreachable: { rpc: -32006, http: 502, exit: 8 },
  timeout: { rpc: -32007, http: 504, exit: 9 },
  storage: { rpc: -32008, http: 503, exit: 10 },
  protocol: { rpc: -32009, http: 502, exit: 11 },
  cancelled: { rpc: -32010, http: 503, exit: 130 },
};

/** Codes of a single fault that differ from their kind's: JSON-RPC names these cases itself. */
const RPC_BY_CODE: Readonly<Record<string, number>> = { "request.invalid": -32600, "command.unknown": -32601 };

export function isFaultKind(text: string): text is FaultKind {
  return Object.hasOwn(answerCodes, text);
}

/** The codes for a kind that came from outside; one that nobody knows counts as internal. */
export function answerCode(kind: string): AnswerCode {
  return answerCodes[isFaultKind(kind) ? kind : "internal"];
}

export function rpcCode(kind: string, code: string): number {
  return (Object.hasOwn(RPC_BY_CODE, code) ? RPC_BY_CODE[code] : undefined) ?? answerCode(kind).rpc;
}

/** A failed answer as the fault that it was at the other end. */
export function faultOfAnswer(answer: {
  readonly kind: string;
  readonly code: string;
  readonly message: string;
  readonly detail?: FaultDetail;
}): Fault {
  const kind = isFaultKind(answer.kind) ? answer.kind : "internal";
  return new Fault(kind, answer.code, answer.message, { detail: answer.detail ?? {} });
}
