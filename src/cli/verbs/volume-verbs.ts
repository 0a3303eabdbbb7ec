import type { Command } from "commander";
import { invalid } from "../../core/fault.ts";
import { isJsonObject, type JsonObject, property } from "../../core/json.ts";
import { keyValue } from "../key-values.ts";
import { cell, fields, table } from "../table.ts";
import { objects } from "./node-reading.ts";
import { verb, type VerbParts } from "./verb.ts";

interface Noun {
  readonly kind: "connector" | "target";
  readonly columns: readonly (readonly [heading: string, key: string])[];
}

const CONNECTORS: Noun = {
  kind: "connector",
  columns: [
    ["NODE", "node_uuid"],
    ["TYPE", "type"],
    ["CONNECTOR", "connector_id"],
    ["UUID", "uuid"],
  ],
};

const TARGETS: Noun = {
  kind: "target",
  columns: [
    ["NODE", "node_uuid"],
    ["TYPE", "volume_type"],
    ["BOOT", "boot_index"],
    ["VOLUME", "volume_id"],
    ["UUID", "uuid"],
  ],
};

/** Disks of storage systems, and the names under which machines log in to them. */
export function addVolumes(parent: Command, parts: VerbParts): void {
  const volume = parent.command("volume").description("disks of storage systems that machines boot from");
  const connector = volume.command("connector").description("names under which machines log in to storage systems");
  verb<{ node: string; type: string; connectorId: string }>(connector, parts, {
    declaration: "create",
    summary: "tell under which name a node logs in to storage systems",
    examples: ["ironrack volume connector create --node r1n1 --connector-id iqn.2026-01.org.example:r1n1"],
    configure: (command) =>
      command
        .requiredOption("--node <NODE>", "name or UUID of the node")
        .requiredOption("--connector-id <NAME>", "with iqn: the initiator's iSCSI name")
        .option("--type <TYPE>", "iqn, ip, mac, wwnn, wwpn, port or portgroup", "iqn"),
    act: async ({ call, json, terminal }, { node, type, connectorId }) => {
      const result = await call("volume_connector.create", { node, type, connector_id: connectorId });
      if (!json) terminal.out(`${node} is ${connectorId} to storage systems\n`);
      return result;
    },
  });
  addReading(connector, parts, CONNECTORS);
  const target = volume.command("target").description("disks of storage systems that are for a node");
  verb<{ node: string; type: string; bootIndex: string; volumeId: string; property?: JsonObject }>(target, parts, {
    declaration: "create",
    summary: "tell a disk of a storage system that is for a node; from the one with boot index 0 it boots",
    examples: [
      "ironrack node set r1n1 --storage-interface external",
      "ironrack volume target create --node r1n1 --volume-id lun-7 --boot-index 0 --property target_portal=10.20.0.9:3260" +
        " --property target_iqn=iqn.2026-01.org.example:lun-7 --property target_lun=1" +
        " --property auth_method=CHAP --property auth_username=r1n1 --property auth_password=@chap-password",
    ],
    configure: (command) =>
      command
        .requiredOption("--node <NODE>", "name or UUID of the node")
        .requiredOption("--volume-id <ID>", "the storage system's name of the disk")
        .option("--type <TYPE>", "only iscsi is booted from", "iscsi")
        .option("--boot-index <N>", "0: the node boots from it; -1: it is not for booting", "0")
        .option("--property <KEY=VALUE>", "target_portal, target_iqn, …; may be repeated", keyValue({ numbers: true })),
    act: async ({ call, json, terminal }, { node, type, bootIndex, volumeId, property: properties }) => {
      const result = await call("volume_target.create", {
        node,
        volume_type: type,
        boot_index: wholeOf(bootIndex),
        volume_id: volumeId,
        properties: properties ?? {},
      });
      if (!json) terminal.out(`${volumeId} is a volume of ${node}\n`);
      return result;
    },
  });
  addReading(target, parts, TARGETS);
}

function wholeOf(text: string): number {
  if (!/^(-1|[0-9]{1,3})$/.test(text)) throw invalid("boot-index", `"${text}" is not a whole number`);
  return Number(text);
}

/** list, show, delete: the same for both. */
function addReading(parent: Command, parts: VerbParts, { kind, columns }: Noun): void {
  verb<{ node?: string }>(parent, parts, {
    declaration: "list",
    summary: `list volume ${kind}s`,
    configure: (command) => command.option("--node <NODE>", "only those of this node"),
    act: async ({ call, json, terminal }, { node }) => {
      const result = await call(`volume_${kind}.list`, node === undefined ? {} : { node });
      if (!json) {
        const rows = objects(isJsonObject(result) ? property(result, `${kind}s`) : undefined).map((one) =>
          columns.map(([, key]) => cell(one[key])),
        );
        terminal.out(
          table(
            columns.map(([heading]) => heading),
            rows,
            terminal.outWidth,
          ),
        );
      }
      return result;
    },
  });
  verb(parent, parts, {
    declaration: "show <uuid>",
    summary: `show one volume ${kind}`,
    act: async ({ call, json, terminal }, _options, [uuid = ""]) => {
      const result = await call(`volume_${kind}.show`, { [`volume_${kind}`]: uuid });
      if (!json && isJsonObject(result)) terminal.out(fields(Object.entries(result)));
      return result;
    },
  });
  verb(parent, parts, {
    declaration: "delete <uuid>",
    summary: `forget a volume ${kind}; its node must be off`,
    act: async ({ call, json, terminal }, _options, [uuid = ""]) => {
      const result = await call(`volume_${kind}.delete`, { [`volume_${kind}`]: uuid });
      if (!json) terminal.out(`volume ${kind} ${uuid} is removed\n`);
      return result;
    },
  });
}
