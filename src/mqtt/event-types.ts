import { Type, type TObject } from "typebox";
import type { HistoryType } from "../domain/history.ts";

export interface EventType {
  readonly sentence: string;
  /** What `data` holds. */
  readonly data: TObject;
}

const text = Type.Union([Type.String(), Type.Null()]);
const state = Type.String({ description: "a provision state" });
const step = Type.String({ description: "interface.step" });
const volumeKind = Type.String({ description: "connector or target" });
const nothing = Type.Object({});

/** Every event that the site is told of; a type without a row does not compile. */
export const eventTypes: Readonly<Record<HistoryType, EventType>> = {
  "node.created": { sentence: "A node was enrolled.", data: Type.Object({ driver: Type.String() }) },
  "node.updated": {
    sentence: "Fields of a node were changed.",
    data: Type.Object({ fields: Type.Array(Type.String()) }),
  },
  "node.deleted": { sentence: "A node was removed; its retained topic is empty now.", data: nothing },
  "node.state": {
    sentence: "A node changed its provision state.",
    data: Type.Object({
      from: state,
      to: state,
      target: text,
      event: Type.String({ description: "the state machine's event" }),
      reason: Type.Optional(Type.String()),
    }),
  },
  "node.power": {
    sentence: "A node's power is known to be different.",
    data: Type.Object({ from: text, to: text, reason: Type.Optional(Type.String()) }),
  },
  "node.step.started": {
    sentence: "A step of an operation begins; `attempt` is above 1 when it begins again after a restart.",
    data: Type.Object({ step, index: Type.Integer(), count: Type.Integer(), attempt: Type.Integer() }),
  },
  "node.step.progress": {
    sentence:
      "How far a step is, at most once a second; may be lost with the power. `resumed`: of the bytes of an image, those that an earlier attempt had written.",
    data: Type.Object({
      step,
      bytes: Type.Integer(),
      total: Type.Union([Type.Integer(), Type.Null()]),
      mb_s: Type.Number(),
      resumed: Type.Optional(Type.Integer()),
    }),
  },
  "node.step.done": { sentence: "A step ended well.", data: Type.Object({ step }) },
  "node.failed": {
    sentence: "Work on a node failed; the node's last_error says the same.",
    data: Type.Object({ step: text, reason: Type.String(), code: Type.String(), verb: text }),
  },
  "node.recovered": {
    sentence: "Work on a node goes on after the daemon was restarted.",
    data: Type.Object({
      step: Type.Optional(text),
      attempt: Type.Optional(Type.Integer()),
      waiting_for: Type.Optional(text),
      reason: Type.Optional(Type.String()),
    }),
  },
  "node.maintenance": {
    sentence: "A node went into maintenance or out of it.",
    data: Type.Object({ maintenance: Type.Boolean(), reason: text }),
  },
  "node.inspected": { sentence: "A machine's inventory was taken and can be asked for.", data: nothing },
  "port.created": {
    sentence: "A NIC of a node became known.",
    data: Type.Object({ port: Type.String(), address: Type.String(), pxe_enabled: Type.Boolean() }),
  },
  "port.deleted": {
    sentence: "A NIC of a node was forgotten.",
    data: Type.Object({ port: Type.String(), address: Type.String() }),
  },
  "volume.created": {
    sentence: "A volume connector or target of a node became known.",
    data: Type.Object({
      volume: Type.String(),
      kind: volumeKind,
      type: Type.Optional(Type.String()),
      connector_id: Type.Optional(Type.String()),
      volume_type: Type.Optional(Type.String()),
      boot_index: Type.Optional(Type.Integer()),
      volume_id: Type.Optional(Type.String()),
    }),
  },
  "volume.deleted": {
    sentence: "A volume connector or target of a node was forgotten.",
    data: Type.Object({ volume: Type.String(), kind: volumeKind }),
  },
  discovery: {
    sentence: "A machine that nobody enrolled was seen.",
    data: Type.Object({}, { additionalProperties: true }),
  },
  "daemon.started": { sentence: "The daemon started.", data: Type.Object({ version: Type.String() }) },
};
