import type { FastifyReply, FastifyRequest } from "fastify";
import { isJsonObject, property, type Json, type JsonObject } from "../../core/json.ts";
import type { Catalogue, Role } from "../../conductor/catalogue.ts";
import { answerError, type ErrorAnswer } from "../error-body.ts";

/** What a group of routes works with. */
export interface RouteParts {
  readonly catalogue: Pick<Catalogue, "execute">;
  /** Aborts when the server closes. */
  readonly closing: AbortSignal;
}

export function sendError(reply: FastifyReply, error: ErrorAnswer): FastifyReply {
  return reply.code(error.status).send(error.body);
}

/** Carries a command out and gives its result to `answer`; a failure is sent in Ironic's form. */
export async function carryOut(
  parts: RouteParts,
  reply: FastifyReply,
  command: { readonly method: string; readonly params: unknown; readonly role: Role },
  answer: (result: Json) => FastifyReply,
): Promise<FastifyReply> {
  const outcome = await parts.catalogue.execute(command, { signal: parts.closing });
  return outcome.ok ? answer(outcome.result) : sendError(reply, answerError(outcome));
}

/** The objects of a list that a command answered. */
export function listed(result: Json, key: string): readonly JsonObject[] {
  const list = isJsonObject(result) ? property(result, key) : undefined;
  return Array.isArray(list) ? list.filter((one: Json) => isJsonObject(one)) : [];
}

/** Scheme and host for links, as the caller wrote them. */
export function baseOf(request: FastifyRequest): string {
  return `${request.protocol}://${request.host}`;
}

/** The microversion in force, which the hook of the server has put here. */
export function minorOf(request: FastifyRequest): number {
  return request.microversion;
}

declare module "fastify" {
  interface FastifyRequest {
    microversion: number;
  }
}
