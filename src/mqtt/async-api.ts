import type { TSchema } from "typebox";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { Command } from "../conductor/catalogue.ts";
import type { HistoryType } from "../domain/history.ts";
import { siteTopics } from "../protocol/site-channel.ts";
import { eventTypes } from "./event-types.ts";
import { nodeState } from "./node-state.ts";
import { errorReply, eventOf, replyOf, requestOf, status } from "./payloads.ts";

/** The topics with their parameters in place of names. */
export const topicTemplates = siteTopics({ site: "{site}", rack: "{rack}" });

const QOS1 = { mqtt: { qos: 1, bindingVersion: "0.2.0" } };

/** The channel as an AsyncAPI 3.0 document, from the schemas that check it. @source AsyncAPI 3.0.0 */
export function asyncApi(commands: readonly Command[], version: string): JsonObject {
  const parameters = { site: { description: "appliance.site" }, rack: { description: "appliance.rack" } };
  const messages = allMessages(commands);
  const named = (prefix: string): JsonObject =>
    Object.fromEntries(
      Object.keys(messages)
        .filter((name) => name.startsWith(prefix))
        .map((name) => [name, ref(`components/messages/${name}`)]),
    );
  const channel = (address: string | null, prefix: string, about: string, more: JsonObject = {}): JsonObject => ({
    address,
    description: about,
    ...(address === null ? {} : { parameters: { ...parameters, ...more } }),
    messages: named(prefix),
  });
  return {
    asyncapi: "3.0.0",
    info: {
      title: "ironrack command channel",
      version,
      description: "How a central site commands one rack over MQTT 5 and is told what happens there.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    defaultContentType: "application/json",
    channels: {
      command: channel(topicTemplates.command, "command.", "Commands to the rack, JSON-RPC 2.0, never retained."),
      reply: channel(null, "reply.", "The response topic that the command names."),
      event: channel(
        topicTemplates.event,
        "event.",
        "What happened in the rack, in order, until the broker has acknowledged it.",
      ),
      node: channel(
        topicTemplates.node("{uuid}"),
        "node",
        "A node's present state, retained; empty when the node is gone.",
        { uuid: { description: "UUID of the node" } },
      ),
      status: channel(topicTemplates.status, "status", "How the rack is, retained; its will says online false."),
    },
    operations: {
      command: {
        action: "receive",
        channel: ref("channels/command"),
        bindings: QOS1,
        reply: { address: { location: "$message.header#/responseTopic" }, channel: ref("channels/reply") },
      },
      event: { action: "send", channel: ref("channels/event"), bindings: QOS1 },
      node: { action: "send", channel: ref("channels/node"), bindings: { mqtt: { ...QOS1.mqtt, retain: true } } },
      status: { action: "send", channel: ref("channels/status"), bindings: { mqtt: { ...QOS1.mqtt, retain: true } } },
    },
    components: { messages },
  };
}

function allMessages(commands: readonly Command[]): Record<string, JsonObject> {
  const messages: Record<string, JsonObject> = {};
  const add = (name: string, summary: string, payload: TSchema): void => {
    messages[name] = { name, summary, payload: jsonSchema(payload) };
  };
  for (const one of commands) {
    add(`command.${one.name}`, one.summary, requestOf(one.name, one.params, one.changes));
    add(`reply.${one.name}`, `Answer to ${one.name}`, replyOf(one.result));
  }
  add("reply.error", "Answer to a command that was refused or failed", errorReply);
  for (const [type, { sentence }] of Object.entries(eventTypes))
    add(`event.${type}`, sentence, eventOf(type as HistoryType));
  add("node", "A node's present state", nodeState);
  add("status", "How the rack is", status);
  return messages;
}

function ref(path: string): JsonObject {
  return { $ref: `#/${path}` };
}

/** The schema as plain JSON, without what the library keeps beside it. */
export function jsonSchema(schema: TSchema): JsonObject {
  const plain: unknown = JSON.parse(JSON.stringify(schema));
  return isJsonObject(plain) ? plain : {};
}

/** A schema in a table's cell: `string`, `"a" or "b"`, `object or null`. */
export function typeWords(schema: Json | undefined): string {
  if (!isJsonObject(schema)) return "anything";
  const { anyOf, enum: choices, type, items } = schema;
  if (schema["const"] !== undefined) return `\`${JSON.stringify(schema["const"])}\``;
  if (Array.isArray(choices)) return choices.map((one: Json) => `\`${JSON.stringify(one)}\``).join(", ");
  if (Array.isArray(anyOf)) return [...new Set(anyOf.map((one: Json) => typeWords(one)))].join(" or ");
  if (type === "array") return `array of ${typeWords(items)}`;
  return typeof type === "string" ? type : "anything";
}
