import type { Command } from "commander";
import { invalid } from "../../core/fault.ts";
import { isJsonObject, objectProperty, property, type Json, type JsonObject } from "../../core/json.ts";
import type { HistoryEntry } from "../../domain/history.ts";
import type { Context } from "../context.ts";
import { parseEventList } from "../event-json.ts";
import { eventLine } from "../event-words.ts";
import { cell, fields, table } from "../table.ts";
import { objects } from "./node-reading.ts";
import { verb, type VerbParts } from "./verb.ts";

export function addStatus(parent: Command, parts: VerbParts): void {
  verb(parent, parts, {
    declaration: "status",
    summary: "how the appliance and its nodes are",
    act: async ({ call, json, terminal, transport }) => {
      const result = await call("conductor.status", {});
      if (!json && isJsonObject(result)) {
        const nodes = objectProperty(result, "nodes") ?? {};
        const { nodes: _nodes, ...rest } = result;
        terminal.out(fields([["answers at", transport.peer], ...Object.entries(rest)]));
        const states = Object.entries(objectProperty(nodes, "by_state") ?? {}).map(
          ([state, count]) => `${cell(count)} ${state}`,
        );
        terminal.out(`nodes  ${cell(nodes["total"])}${states.length === 0 ? "" : `: ${states.join(", ")}`}\n`);
      }
      return result;
    },
  });
}

export function addPorts(parent: Command, parts: VerbParts): void {
  const port = parent.command("port").description("network ports of the machines");
  verb<{ node: string; address: string; pxe?: boolean }>(port, parts, {
    declaration: "create",
    summary: "tell the rack a NIC of a node",
    examples: ["ironrack port create --node r1n1 --address 52:54:00:12:34:56"],
    configure: (command) =>
      command
        .requiredOption("--node <NODE>", "name or UUID of its node")
        .requiredOption("--address <MAC>", "its MAC address")
        .option("--no-pxe", "the machine does not boot from it"),
    act: async ({ call, json, terminal }, { node, address, pxe }) => {
      const result = await call("port.create", { node, address, pxe_enabled: pxe !== false });
      if (!json) terminal.out(`port ${address} of ${node} is known\n`);
      return result;
    },
  });
  verb<{ node?: string }>(port, parts, {
    declaration: "list",
    summary: "list ports",
    configure: (command) => command.option("--node <NODE>", "only those of this node"),
    act: async ({ call, json, terminal }, { node }) => {
      const result = await call("port.list", node === undefined ? {} : { node });
      if (!json) {
        const rows = listed(result, "ports").map((one) => [
          cell(one["address"]),
          cell(one["node_uuid"]),
          one["pxe_enabled"] === true ? "yes" : "no",
          cell(one["uuid"]),
        ]);
        terminal.out(table(["ADDRESS", "NODE", "PXE", "UUID"], rows, terminal.outWidth));
      }
      return result;
    },
  });
  verb(port, parts, {
    declaration: "show <port>",
    summary: "show one port, by UUID or MAC address",
    act: async ({ call, json, terminal }, _options, [ident = ""]) => {
      const result = await call("port.show", { port: ident });
      if (!json && isJsonObject(result)) terminal.out(fields(Object.entries(result)));
      return result;
    },
  });
  verb(port, parts, {
    declaration: "delete <port>",
    summary: "forget a port, by UUID or MAC address",
    act: async ({ call, json, terminal }, _options, [ident = ""]) => {
      const result = await call("port.delete", { port: ident });
      if (!json) terminal.out(`port ${ident} is removed\n`);
      return result;
    },
  });
}

interface EventOptions {
  readonly after?: string;
  readonly limit?: string;
  readonly node?: string;
  readonly follow?: boolean;
}

/** Prints an event as a line, for people or as JSON. */
function show({ json, terminal }: Context, event: HistoryEntry): void {
  terminal.out(json ? `${JSON.stringify(event)}\n` : `${eventLine(event)}\n`);
}

async function follow(
  context: Context,
  options: { readonly after: number | undefined; readonly node: string | undefined },
): Promise<undefined> {
  const { node } = options;
  for await (const event of context.transport.events(options.after, context.signal)) {
    if (node === undefined || event.node === node || event.name === node) show(context, event);
  }
  return undefined;
}

function whole(field: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(text)) throw invalid(field, `"${text}" is not a whole number`);
  return Number(text);
}

export function addEvents(parent: Command, parts: VerbParts): void {
  const list = async (context: Context, options: EventOptions): Promise<Json | undefined> => {
    const after = whole("after", options.after);
    if (options.follow === true) return await follow(context, { after, node: options.node });
    const limit = whole("limit", options.limit) ?? 100;
    const result = await context.call("event.list", {
      limit,
      ...(after === undefined ? {} : { after }),
      ...(options.node === undefined ? {} : { node: options.node }),
    });
    if (!context.json) for (const event of parseEventList(result).events) show(context, event);
    return result;
  };
  const configure = (command: Command): Command =>
    command
      .option("--after <SEQ>", "only those after this sequence number")
      .option("--limit <N>", "at most so many")
      .option("--node <NODE>", "only those of this node");
  const event = parent.command("event").description("what happened in the rack");
  verb<EventOptions>(event, parts, {
    declaration: "list",
    summary: "list the newest events, oldest first",
    configure,
    act: list,
  });
  verb<EventOptions>(parent, parts, {
    declaration: "events",
    summary: "show events; with --follow as they come (with --json a line each)",
    examples: ["ironrack events --follow", "ironrack events --follow --json | jq -c 'select(.severity == \"ERROR\")'"],
    configure: (command) => configure(command).option("--follow", "go on until Ctrl-C"),
    act: list,
  });
  verb<EventOptions>(parent, parts, {
    declaration: "logs [node]",
    summary: "tell what happened, in words; of one node or of the whole rack",
    examples: [
      "ironrack logs",
      "ironrack logs --follow r1n1",
      "journalctl -u ironrackd   (the daemon's own log, line by line)",
    ],
    configure: (command) =>
      command.option("--follow", "go on until Ctrl-C").option("--limit <N>", "at most so many earlier ones", "100"),
    act: async (context, options, [node]) => {
      const limit = whole("limit", options.limit) ?? 100;
      const earlier =
        node === undefined
          ? await context.call("event.list", { limit })
          : await context.call("node.history", { node, limit });
      const events = parseEventList(
        node === undefined ? earlier : { events: isJsonObject(earlier) ? (property(earlier, "history") ?? []) : [] },
      ).events;
      for (const one of events) show(context, one);
      // A node without history yet, or an old one: nothing of it can be missed by following from its last entry on.
      return options.follow === true ? await follow(context, { after: events.at(-1)?.seq, node }) : undefined;
    },
  });
}

export function addLeases(parent: Command, parts: VerbParts): void {
  const lease = parent.command("lease").description("addresses that the DHCP service has given out");
  verb(lease, parts, {
    declaration: "list",
    summary: "list leases",
    act: async ({ call, json, terminal }) => {
      const result = await call("lease.list", {});
      if (!json) {
        const rows = listed(result, "leases").map((one) =>
          ["address", "mac", "hostname", "state", "expires_at"].map((key) => cell(one[key])),
        );
        terminal.out(table(["ADDRESS", "MAC", "HOSTNAME", "STATE", "EXPIRES"], rows, terminal.outWidth));
      }
      return result;
    },
  });
}

export function addCommands(parent: Command, parts: VerbParts): void {
  const command = parent.command("command").description("the rack's own commands, as the site sends them");
  verb(command, parts, {
    declaration: "list",
    summary: "list the commands that the rack understands",
    act: async ({ call, json, terminal }) => {
      const result = await call("command.list", {});
      if (!json) {
        const rows = listed(result, "commands").map((one) => [
          cell(one["name"]),
          one["changes"] === true ? "changes" : "reads",
          cell(one["summary"]),
        ]);
        terminal.out(table(["COMMAND", "KIND", "WHAT IT DOES"], rows, terminal.outWidth));
      }
      return result;
    },
  });
  verb(command, parts, {
    declaration: "call <method> [params]",
    summary: "send one command with its parameters as JSON",
    examples: [`ironrack command call node.show '{"node":"r1n1"}'`],
    act: async ({ call, json, terminal }, _options, [method = "", params = "{}"]) => {
      const result = await call(method, parseParams(params));
      if (!json) terminal.out(`${JSON.stringify(result, null, 2)}\n`);
      return result;
    },
  });
}

function parseParams(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value)) return value;
  } catch {
    // Said below.
  }
  throw invalid("params", "must be a JSON object");
}

function listed(result: Json, key: string): readonly JsonObject[] {
  return objects(isJsonObject(result) ? property(result, key) : undefined);
}
