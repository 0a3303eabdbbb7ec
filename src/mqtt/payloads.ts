import { Type, type TSchema } from "typebox";
import { answerCodes } from "../core/answer-codes.ts";
import type { HistoryType } from "../domain/history.ts";
import { eventTypes } from "./event-types.ts";

/** The schemas of what goes over the channel beside the commands' own. */
export function requestOf(method: string, params: TSchema, changes: boolean): TSchema {
  return Type.Object({
    jsonrpc: Type.Literal("2.0"),
    id: changes
      ? Type.String({ minLength: 1, maxLength: 128, description: "never used again; the same id gets the same answer" })
      : Type.Union([Type.String(), Type.Number(), Type.Null()]),
    method: Type.Literal(method),
    params,
  });
}

export function replyOf(result: TSchema): TSchema {
  return Type.Object({
    jsonrpc: Type.Literal("2.0"),
    id: Type.Union([Type.String(), Type.Number(), Type.Null()]),
    result,
  });
}

export const errorReply = Type.Object({
  jsonrpc: Type.Literal("2.0"),
  id: Type.Union([Type.String(), Type.Number(), Type.Null()]),
  error: Type.Object({
    code: Type.Integer({ description: "see the table of kinds" }),
    message: Type.String({ description: "a sentence for people" }),
    data: Type.Object({
      kind: Type.Union(Object.keys(answerCodes).map((kind) => Type.Literal(kind))),
      code: Type.String({ description: "a stable dotted word for programs" }),
      detail: Type.Object(
        {},
        { additionalProperties: true, description: "`field` names the field of an invalid parameter" },
      ),
    }),
  }),
});

export function eventOf(type: HistoryType): TSchema {
  return Type.Object({
    seq: Type.Integer({ minimum: 1, description: "rises by one without gaps; a repetition has the same" }),
    time: Type.String({ format: "date-time" }),
    type: Type.Literal(type),
    severity: Type.Union([Type.Literal("INFO"), Type.Literal("WARNING"), Type.Literal("ERROR")]),
    node: Type.Union([Type.String({ format: "uuid" }), Type.Null()]),
    name: Type.Union([Type.String(), Type.Null()]),
    operation: Type.Union([Type.String(), Type.Null()], { description: "the id that started the work" }),
    data: eventTypes[type].data,
  });
}

export const status = Type.Object(
  {
    online: Type.Boolean({ description: "false: the will, or the last word before a stop" }),
    time: Type.Optional(Type.String({ format: "date-time", description: "the appliance's clock" })),
    reason: Type.Optional(Type.String({ description: '"stopped" when the daemon was stopped in order' })),
  },
  { additionalProperties: true, description: "the answer of conductor.status beside these" },
);
