import type { Command } from "commander";
import { isJsonObject, objectProperty, property, stringProperty, type Json, type JsonObject } from "../../core/json.ts";
import { parseEvent } from "../event-json.ts";
import { eventLine, sizeWords } from "../event-words.ts";
import { cell, fields, table } from "../table.ts";
import { verb, type VerbParts } from "./verb.ts";

/** The verbs that show nodes. */
export function addNodeReading(node: Command, parts: VerbParts): void {
  verb<{ state?: string; driver?: string; maintenance?: boolean }>(node, parts, {
    declaration: "list",
    summary: "list the nodes and what they do",
    examples: [
      "ironrack node list",
      'ironrack node list --state "deploy failed"',
      "ironrack node list --json | jq -r '.nodes[].name'",
    ],
    configure: (command) =>
      command
        .option("--state <STATE>", "only nodes in this provision state")
        .option("--driver <DRIVER>", "only nodes of this hardware type")
        .option("--maintenance", "only nodes in maintenance"),
    act: async ({ call, json, terminal }, { state, driver, maintenance }) => {
      const params = {
        ...(state === undefined ? {} : { provision_state: state }),
        ...(driver === undefined ? {} : { driver }),
        ...(maintenance === undefined ? {} : { maintenance }),
      };
      const result = await call("node.list", params);
      if (!json) {
        const rows = objects(property(isJsonObject(result) ? result : {}, "nodes")).map((one) => [
          cell(one["name"]),
          cell(one["uuid"]),
          cell(one["provision_state"]),
          cell(one["power_state"]),
          one["maintenance"] === true ? "yes" : "no",
          whatItDoes(one),
        ]);
        terminal.out(table(["NAME", "UUID", "STATE", "POWER", "MAINT", "NOW"], rows, terminal.outWidth));
      }
      return result;
    },
  });

  verb(node, parts, {
    declaration: "show <node>",
    summary: "show all of one node, by name or UUID",
    examples: ["ironrack node show r1n1", "ironrack node show r1n1 --json"],
    act: async ({ call, json, terminal }, _options, [ident = ""]) => {
      const result = await call("node.show", { node: ident });
      if (!json && isJsonObject(result)) terminal.out(fields(Object.entries(result)));
      return result;
    },
  });

  verb<{ limit?: string }>(node, parts, {
    declaration: "history <node>",
    summary: "tell what happened to a node, oldest first",
    examples: ["ironrack node history r1n1 --limit 50"],
    configure: (command) => command.option("--limit <N>", "at most so many entries", "200"),
    act: async ({ call, json, terminal }, { limit }, [ident = ""]) => {
      const result = await call("node.history", { node: ident, limit: Number(limit) });
      if (!json)
        for (const one of objects(property(isJsonObject(result) ? result : {}, "history")))
          terminal.out(`${eventLine(parseEvent(one))}\n`);
      return result;
    },
  });

  verb(node, parts, {
    declaration: "validate <node>",
    summary: "check a node's settings, without touching the machine",
    act: async ({ call, json, terminal }, _options, [ident = ""]) => {
      const result = await call("node.validate", { node: ident });
      if (!json && isJsonObject(result)) {
        const rows = Object.entries(result).map(([name, value]) => {
          const one = isJsonObject(value) ? value : {};
          return [
            name,
            one["result"] === true ? "good" : "not good",
            one["reason"] === undefined || one["reason"] === null ? "" : cell(one["reason"]),
          ];
        });
        terminal.out(table(["INTERFACE", "RESULT", "REASON"], rows));
      }
      return result;
    },
  });

  verb(node, parts, {
    declaration: "inventory <node>",
    summary: "show what the last inspection found in the machine",
    act: async ({ call, json, terminal }, _options, [ident = ""]) => {
      const result = await call("node.inventory", { node: ident });
      if (!json && isJsonObject(result)) terminal.out(inventoryWords(objectProperty(result, "inventory") ?? {}));
      return result;
    },
  });
}

/** The JSON objects of a list. */
export function objects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter((one: Json) => isJsonObject(one)) : [];
}

function whatItDoes(node: JsonObject): string {
  const operation = objectProperty(node, "operation");
  const step = operation === undefined ? undefined : stringProperty(operation, "step");
  if (operation !== undefined)
    return `${stringProperty(operation, "verb") ?? ""}${step === undefined ? "" : `: ${step}`}`;
  return stringProperty(node, "last_error") ?? stringProperty(node, "maintenance_reason") ?? "";
}

function inventoryWords(inventory: JsonObject): string {
  const cpu = objectProperty(inventory, "cpu") ?? {};
  const memory = objectProperty(inventory, "memory") ?? {};
  const vendor = objectProperty(inventory, "system_vendor") ?? {};
  const boot = objectProperty(inventory, "boot") ?? {};
  const bytes = (value: Json | undefined): string => (typeof value === "number" ? sizeWords(value) : cell(value));
  const head = fields([
    [
      "machine",
      ["manufacturer", "product_name", "serial_number"]
        .map((key) => stringProperty(vendor, key) ?? "")
        .join(" ")
        .trim(),
    ],
    ["cpu", `${cell(cpu["count"])} × ${cell(cpu["model_name"])} (${cell(cpu["architecture"])})`],
    ["memory", typeof memory["physical_mb"] === "number" ? `${memory["physical_mb"]} MiB` : bytes(memory["total"])],
    ["boot mode", boot["current_boot_mode"]],
    ["BMC", inventory["bmc_address"]],
  ]);
  const disks = objects(inventory["disks"]).map((disk) => [
    cell(disk["name"]),
    bytes(disk["size"]),
    disk["rotational"] === true ? "rotating" : "flash",
    cell(disk["model"]),
    cell(disk["serial"]),
  ]);
  const nics = objects(inventory["interfaces"]).map((nic) => [
    cell(nic["name"]),
    cell(nic["mac_address"]),
    cell(nic["ipv4_address"]),
    nic["has_carrier"] === true ? "up" : "down",
    cell(nic["speed_mbps"]),
  ]);
  return `${head}\n${table(["DISK", "SIZE", "KIND", "MODEL", "SERIAL"], disks)}\n${table(["NIC", "MAC", "IPV4", "LINK", "MBIT/S"], nics)}`;
}
