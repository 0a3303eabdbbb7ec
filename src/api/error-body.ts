import { answerCode } from "../core/answer-codes.ts";
import type { JsonObject } from "../core/json.ts";
import type { CommandAnswer } from "../domain/command-record.ts";

export interface ErrorAnswer {
  readonly status: number;
  readonly body: JsonObject;
}

/** Ironic's error body: the inner object is JSON in a string. @source IRONIC API, error bodies of API exceptions */
export function apiError(status: number, faultstring: string): ErrorAnswer {
  const inner = { faultcode: status < 500 ? "Client" : "Server", faultstring, debuginfo: null };
  return { status, body: { error_message: JSON.stringify(inner) } };
}

/** The body for unknown routes and versions, which in Ironic comes from its framework. */
export function routingError(status: number, title: string, description: string): ErrorAnswer {
  return { status, body: { error_message: JSON.stringify({ code: status, title, description }) } };
}

export function unauthorized(): ErrorAnswer {
  return { status: 401, body: { error: { message: "Authorization required", code: 401 } } };
}

/** A failed command's answer. */
export function answerError(answer: Extract<CommandAnswer, { readonly ok: false }>): ErrorAnswer {
  return apiError(answerCode(answer.kind).http, answer.message);
}
