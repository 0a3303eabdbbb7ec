import type { TSchema } from "typebox";
import { answerCodes } from "../core/answer-codes.ts";
import { isJsonObject, objectProperty, property, stringProperty, type Json } from "../core/json.ts";
import type { Command } from "../conductor/catalogue.ts";
import { jsonSchema, topicTemplates, typeWords } from "./async-api.ts";
import { eventTypes } from "./event-types.ts";
import { nodeState } from "./node-state.ts";
import { status } from "./payloads.ts";

const KINDS: Readonly<Record<keyof typeof answerCodes, string>> = {
  malformed: "bytes or text that are not of their format",
  invalid: "a parameter is wrong; `data.detail.field` names it",
  internal: "a bug of the rack; its log says more",
  "not-found": "there is no such node, port or the like",
  conflict: "not possible in the present state",
  busy: "somebody else works on it; send it again",
  refused: "the peer (a BMC, an agent, the rack) said no",
  unsupported: "nobody here can do that",
  unreachable: "a peer could not be reached",
  timeout: "a deadline passed, or the command expired before its turn",
  storage: "the rack's own disk",
  protocol: "a peer said something that its protocol does not allow",
  cancelled: "the rack stopped, or somebody aborted it; nothing was changed",
};

/** docs/mqtt.md: the channel for those who write the site's side. */
export function channelDocument(commands: readonly Command[]): string {
  const shown = commands.filter(({ role }) => role === "operator");
  return `${INTRODUCTION}
${TOPICS}
${HOW}
## Errors

A failed command answers \`{"jsonrpc":"2.0","id":…,"error":{"code":…,"message":"…","data":{"kind":"…","code":"…","detail":{…}}}}\`.
\`message\` is for people; programs look at \`data.kind\` and \`data.code\`. An unknown command has code -32601, a payload
that is no request -32600.

${table(
  ["kind", "code", "what went wrong", "exit status of the CLI", "HTTP"],
  Object.entries(answerCodes).map(([kind, row]) => [
    `\`${kind}\``,
    String(row.rpc),
    KINDS[kind as keyof typeof KINDS],
    String(row.exit),
    String(row.http),
  ]),
)}
## Commands

${table(
  ["command", "", "what it does"],
  shown.map(({ name, changes, summary }) => [
    `[\`${name}\`](#${name.replaceAll(".", "")})`,
    changes ? "changes" : "reads",
    summary,
  ]),
)}
${shown.map(commandSection).join("\n")}
## Events

An event is \`{seq, time, type, severity, node, name, operation, data}\`: \`seq\` rises by one without gaps, \`severity\` is INFO,
WARNING or ERROR, \`node\` and \`name\` are the node's or null, \`operation\` is the id of the work that it belongs to or null.
\`{"truncated": true}\` stands for data that the broker was too small for.

${table(
  ["type", "means", "data"],
  Object.entries(eventTypes).map(([type, { sentence, data }]) => [`\`${type}\``, sentence, fieldWords(data)]),
)}
## A node's retained state

${fieldTable(nodeState)}
## The rack's retained status

${fieldTable(status)}
Beside these, what \`conductor.status\` answers.
`;
}

const INTRODUCTION = `# The command channel (MQTT 5)

<!-- Made from the schemas in src by test/write-docs.ts; test/unit/mqtt/documents.test.ts holds it to them. -->

A rack and its central site talk through the site's broker. The rack connects to it ([mqtt] in appliance.conf), so no port of
the rack is open to the outside. Everything is JSON in UTF-8. The same definitions as an AsyncAPI 3.0 document:
[asyncapi.json](asyncapi.json). From a shell: \`ironrack site --broker … --site … --rack … node list\`.
`;

const TOPICS = `## Topics

${table(
  ["topic", "who", "QoS", "retained", "payload"],
  [
    [
      `\`${topicTemplates.command}\``,
      "site → rack",
      "1",
      "never",
      "JSON-RPC 2.0 request, with response topic and correlation data",
    ],
    ["the response topic", "rack → site", "1", "no", "JSON-RPC 2.0 answer, with the same correlation data"],
    [`\`${topicTemplates.event}\``, "rack → site", "1", "no", "an event"],
    [
      `\`${topicTemplates.node("{uuid}")}\``,
      "rack → site",
      "1",
      "yes",
      "the node's present state; empty when the node is gone",
    ],
    [`\`${topicTemplates.status}\``, "rack → site", "1", "yes", 'how the rack is; `{"online":false}` as its will'],
  ],
)}`;

const HOW = `## What the rack promises

- A command that changes something is on the rack's disk before the broker gets its PUBACK. After a crash it is either
  carried out or answered with a reason.
- Its \`id\` is a string of 1 to 128 characters that is never used again. The same id gets the same stored answer, on
  whatever response topic it is asked for; so a command without an answer is simply sent again. The same id with another
  method is a conflict.
- Commands for one node run in the order in which they came. Other nodes are not held up.
- A command whose message expiry passed before its turn is answered with \`command.expired\` and not carried out.
- An answer is sent until the broker has acknowledged it, also after a restart. Work that takes long answers at once with
  the id of its operation; the events tell how it goes on.
- A command must not be published with the retain flag, and not in a batch. One that only reads is not kept: its answer is
  lost with the connection, and it is sent again.
- The rack keeps its session at the broker for a week, so commands that are sent while it is away reach it, unless they expire.
- Events are sent in order from the last one that the broker acknowledged, at least once; \`seq\` tells a repetition. An
  outage costs nothing but time, as long as the store keeps the history. \`event.list\` reads the same history.
- A retained node state is sent when it differs from what was sent before, and after each connection.

A broker with Nagle's algorithm costs 40 ms on each round trip: set \`set_tcp_nodelay true\` in mosquitto.conf.
`;

function commandSection({ name, summary, changes, params, result }: Command): string {
  return `### ${name}

${summary}. ${changes ? "Changes something." : "Reads only."}

${fieldTable(params, "No parameters.")}
Answers ${answerWords(jsonSchema(result))}.
`;
}

function answerWords(schema: Json): string {
  if (!isJsonObject(schema)) return "anything";
  const about = stringProperty(schema, "description");
  const fields = objectProperty(schema, "properties") ?? {};
  const names = Object.entries(fields).map(([name, one]) => `\`${name}\` (${typeWords(one)})`);
  if (about !== undefined) return about;
  return names.length === 0 ? typeWords(schema) : names.join(", ");
}

function fieldTable(schema: TSchema, none = ""): string {
  const plain = jsonSchema(schema);
  const fields = Object.entries(objectProperty(plain, "properties") ?? {});
  if (fields.length === 0) return `${none}\n`;
  const required = property(plain, "required");
  const needed = new Set(Array.isArray(required) ? required : []);
  return table(
    ["field", "type", "", "meaning"],
    fields.map(([name, one]) => [
      `\`${name}\``,
      typeWords(one),
      needed.has(name) ? "always" : "optional",
      isJsonObject(one) ? (stringProperty(one, "description") ?? "") : "",
    ]),
  );
}

function fieldWords(schema: TSchema): string {
  const plain = jsonSchema(schema);
  const fields = Object.entries(objectProperty(plain, "properties") ?? {});
  return fields.map(([name, one]) => `\`${name}\`: ${typeWords(one)}`).join("; ");
}

/** A Markdown table. */
function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((one) => one.replaceAll("|", "\\|")).join(" | ")} |\n`;
  return line(headings) + line(headings.map(() => "---")) + rows.map(line).join("");
}
