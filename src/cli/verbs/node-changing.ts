import type { Command } from "commander";
import { invalid } from "../../core/fault.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import { keyValue } from "../key-values.ts";
import { cell } from "../table.ts";
import { verb, type VerbParts } from "./verb.ts";

interface NodeFields {
  readonly driver?: string;
  readonly name?: string;
  readonly uuid?: string;
  readonly description?: string;
  readonly driverInfo?: JsonObject;
  readonly property?: JsonObject;
  readonly extra?: JsonObject;
  readonly instanceInfo?: JsonObject;
  readonly resourceClass?: string;
  readonly bootMode?: string;
  readonly deployInterface?: string;
  readonly storageInterface?: string;
}

function nodeFields(command: Command): Command {
  return command
    .option("--name <NAME>", "a name to use instead of the UUID")
    .option(
      "--driver-info <KEY=VALUE>",
      "how to reach the BMC; repeatable; KEY=@FILE reads the value from a file",
      keyValue({ numbers: false }),
    )
    .option("--property <KEY=VALUE>", "a property such as cpu_arch; repeatable", keyValue({ numbers: true }))
    .option("--extra <KEY=VALUE>", "anything you want kept with the node; repeatable", keyValue({ numbers: true }))
    .option("--instance-info <KEY=VALUE>", "what to deploy; repeatable", keyValue({ numbers: true }))
    .option("--description <TEXT>", "free text")
    .option("--resource-class <CLASS>", "a word for machines of this kind")
    .option("--boot-mode <bios|uefi>", "how the machine's firmware boots")
    .option("--deploy-interface <NAME>", "iscsi, or ramdisk for an instance that runs from the network")
    .option("--storage-interface <NAME>", "noop, or external to boot from a volume");
}

const NODE_EXAMPLE =
  "ironrack node create --driver ipmi --name r1n1 --driver-info ipmi_address=10.0.0.21 --driver-info ipmi_username=admin --driver-info ipmi_password=@/root/bmc.secret";

/** The verbs that enroll, change and remove nodes. */
export function addNodeChanging(node: Command, parts: VerbParts): void {
  verb<NodeFields>(node, parts, {
    declaration: "create",
    summary: "enroll a machine",
    examples: [NODE_EXAMPLE],
    configure: (command) =>
      nodeFields(
        command
          .requiredOption("--driver <DRIVER>", "hardware type, e.g. ipmi")
          .option("--uuid <UUID>", "its UUID; one is made otherwise"),
      ),
    act: async ({ call, json, terminal }, options) => {
      const result = await call("node.create", {
        ...(options.driver === undefined ? {} : { driver: options.driver }),
        ...(options.uuid === undefined ? {} : { uuid: options.uuid }),
        ...fieldsOf(options),
        ...Object.fromEntries(objectFields(options)),
      });
      if (!json && isJsonObject(result))
        terminal.out(`${cell(result["name"] ?? result["uuid"])} is enrolled, UUID ${cell(result["uuid"])}\n`);
      return result;
    },
  });

  verb<NodeFields & { readonly unset?: readonly string[] }>(node, parts, {
    declaration: "set <node>",
    summary: "change fields of a node",
    examples: [
      "ironrack node set r1n1 --driver-info ipmi_address=10.0.0.22",
      "ironrack node set r1n1 --unset extra/owner",
    ],
    configure: (command) =>
      nodeFields(command).option(
        "--unset <FIELD/KEY>",
        "remove a field or a key of one, e.g. extra/owner; repeatable",
        (text: string, all: readonly string[] | undefined) => [...(all ?? []), text],
      ),
    act: async ({ call, json, terminal }, options, [ident = ""]) => {
      const patch: JsonObject[] = Object.entries(fieldsOf(options)).map(([name, value]) => replace([name], value));
      for (const [name, values] of objectFields(options))
        for (const [key, value] of Object.entries(values)) patch.push(replace([name, key], value));
      for (const path of options.unset ?? []) patch.push({ op: "remove", path: pointer(path.split("/")) });
      if (patch.length === 0) throw invalid("set", "give at least one field to change");
      const result = await call("node.update", { node: ident, patch });
      if (!json) terminal.out(`${ident} is changed\n`);
      return result;
    },
  });

  verb(node, parts, {
    declaration: "delete <node>",
    summary: "forget a node and its ports; the machine is not touched",
    act: async ({ call, json, terminal }, _options, [ident = ""]) => {
      const result = await call("node.delete", { node: ident });
      if (!json) terminal.out(`${ident} is removed\n`);
      return result;
    },
  });

  const maintenance = node.command("maintenance").description("take a node out of automatic work, or back");
  verb<{ reason?: string }>(maintenance, parts, {
    declaration: "set <node>",
    summary: "leave the node alone",
    examples: ['ironrack node maintenance set r1n1 --reason "fan replaced at 14:00"'],
    configure: (command) => command.option("--reason <TEXT>", "why, for those who look later"),
    act: async ({ call, json, terminal }, { reason }, [ident = ""]) => {
      const result = await call("node.set_maintenance", {
        node: ident,
        maintenance: true,
        ...(reason === undefined ? {} : { reason }),
      });
      if (!json) terminal.out(`${ident} is in maintenance\n`);
      return result;
    },
  });
  verb(maintenance, parts, {
    declaration: "unset <node>",
    summary: "let the rack work with the node again",
    act: async ({ call, json, terminal }, _options, [ident = ""]) => {
      const result = await call("node.set_maintenance", { node: ident, maintenance: false });
      if (!json) terminal.out(`${ident} is out of maintenance\n`);
      return result;
    },
  });

  verb<{ persistent?: boolean }>(node, parts, {
    declaration: "boot-device <node> <device>",
    summary: "tell the BMC what to boot from: pxe, disk, cdrom, bios or safe",
    configure: (command) => command.option("--persistent", "not only for the next boot"),
    act: async ({ call, json, terminal }, { persistent }, [ident = "", device = ""]) => {
      const result = await call("node.set_boot_device", {
        node: ident,
        boot_device: device,
        persistent: persistent === true,
      });
      if (!json) terminal.out(`${ident} boots from ${device}${persistent === true ? "" : " once"}\n`);
      return result;
    },
  });
}

function fieldsOf(options: NodeFields): JsonObject {
  const named: readonly (readonly [string, string | undefined])[] = [
    ["name", options.name],
    ["description", options.description],
    ["resource_class", options.resourceClass],
    ["boot_mode", options.bootMode],
    ["deploy_interface", options.deployInterface],
    ["storage_interface", options.storageInterface],
  ];
  return Object.fromEntries(named.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

function objectFields(options: NodeFields): readonly (readonly [string, JsonObject])[] {
  const named: readonly (readonly [string, JsonObject | undefined])[] = [
    ["driver_info", options.driverInfo],
    ["properties", options.property],
    ["extra", options.extra],
    ["instance_info", options.instanceInfo],
  ];
  return named.filter((pair): pair is [string, JsonObject] => pair[1] !== undefined);
}

/** "add" also replaces what is there. @source RFC 6902 §4.1 */
export function replace(path: readonly string[], value: Json): JsonObject {
  return { op: "add", path: pointer(path), value };
}

/** @source RFC 6901 §3 */
function pointer(path: readonly string[]): string {
  return path.map((part) => `/${part.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
