import type { Command } from "commander";
import { invalid } from "../../core/fault.ts";
import { isJsonObject, stringProperty, type Json, type JsonObject } from "../../core/json.ts";
import { seconds, type Millis } from "../../core/units.ts";
import { formatByName, IMAGE_FORMATS } from "../../domain/image-format.ts";
import { readConfigDrive } from "../config-drive.ts";
import type { Context } from "../context.ts";
import { followNode, newestSeq, powerGoal, restGoal, stateGoal, type Goal } from "../follow.ts";
import { keyValue } from "../key-values.ts";
import { cell } from "../table.ts";
import { replace } from "./node-changing.ts";
import { verb, type VerbParts } from "./verb.ts";

interface Waiting {
  readonly wait?: boolean;
  readonly timeout?: string;
}

interface Deploy extends Waiting {
  readonly imageSource?: string;
  readonly imageChecksum?: string;
  readonly imageFormat?: string;
  readonly configDrive?: string;
  readonly rootDevice?: JsonObject;
}

function waiting(command: Command): Command {
  return command
    .option("--wait", "stay until it is done, and fail if it fails; Ctrl-C leaves the rack at work")
    .option("--timeout <SECONDS>", "with --wait: give up waiting after so long (the rack goes on)");
}

/** The verbs of Ironic's provision states that need nothing more than the node. */
const PLAIN: readonly {
  readonly name: string;
  readonly target: string;
  readonly goal: Goal;
  readonly summary: string;
}[] = [
  {
    name: "manage",
    target: "manage",
    goal: stateGoal("manageable"),
    summary: "check the BMC's address and password and take the node under control",
  },
  {
    name: "inspect",
    target: "inspect",
    goal: stateGoal("manageable"),
    summary: "boot the ramdisk to find out what is in the machine",
  },
  {
    name: "provide",
    target: "provide",
    goal: stateGoal("available"),
    summary: "clean the machine and make it available",
  },
  {
    name: "undeploy",
    target: "deleted",
    goal: stateGoal("available"),
    summary: "take the machine from its user: clean it and make it available",
  },
  { name: "adopt", target: "adopt", goal: stateGoal("active"), summary: "take over a machine that runs already" },
  { name: "abort", target: "abort", goal: restGoal, summary: "stop what is under way on the node" },
];

const POWER: readonly {
  readonly name: string;
  readonly target: string;
  readonly soft: string;
  readonly state: "power on" | "power off";
  readonly summary: string;
}[] = [
  { name: "on", target: "power on", soft: "power on", state: "power on", summary: "switch the machine on" },
  { name: "off", target: "power off", soft: "soft power off", state: "power off", summary: "switch the machine off" },
  { name: "reboot", target: "rebooting", soft: "soft rebooting", state: "power on", summary: "restart the machine" },
];

/** The verbs that make a machine do something. */
export function addNodeWork(node: Command, parts: VerbParts): void {
  for (const { name, target, goal, summary } of PLAIN) {
    verb<Waiting>(node, parts, {
      declaration: `${name} <node>`,
      summary,
      examples: [`ironrack node ${name} r1n1 --wait`],
      configure: waiting,
      act: async (context, options, [ident = ""]) =>
        await provision(context, { ident, target, goal, options, extra: {} }),
    });
  }

  verb<Waiting & { readonly cleanSteps?: string }>(node, parts, {
    declaration: "clean <node>",
    summary: "clean a manageable node; it stays manageable",
    examples: [
      "ironrack node clean r1n1 --wait",
      `ironrack node clean r1n1 --clean-steps '[{"interface":"deploy","step":"erase_devices"}]'`,
    ],
    configure: (command) =>
      waiting(command).option("--clean-steps <JSON>", "the steps; without them those of automatic cleaning"),
    act: async (context, options, [ident = ""]) => {
      const extra = options.cleanSteps === undefined ? {} : { clean_steps: parseSteps(options.cleanSteps) };
      return await provision(context, { ident, target: "clean", goal: stateGoal("manageable"), options, extra });
    },
  });

  for (const { name, target, summary } of [
    { name: "deploy", target: "active", summary: "write an image to the machine's disk and boot it" },
    { name: "rebuild", target: "rebuild", summary: "write the image again on an active machine" },
  ]) {
    verb<Deploy>(node, parts, {
      declaration: `${name} <node>`,
      summary,
      examples: [
        `ironrack node ${name} r1n1 --image-source /srv/ironrack/images/debian.qcow2 --image-checksum sha256:9f2c… --config-drive user.json --wait`,
      ],
      configure: (command) =>
        waiting(
          command
            .option(
              "--image-source <URL|PATH>",
              "the image: a URL, or a file of the appliance; without it, what the node's instance_info says",
            )
            .option("--image-checksum <ALGORITHM:HEX>", "e.g. sha256:9f2c…")
            .option(`--image-format <${IMAGE_FORMATS.join("|")}>`, "without it, guessed from the name")
            .option(
              "--config-drive <FILE|JSON>",
              "first-boot data: JSON with meta_data, user_data, network_data, or a file or directory of it, or an ISO image",
            )
            .option(
              "--root-device <KEY=VALUE>",
              "hint which disk to write, e.g. serial=ABC; repeatable",
              keyValue({ numbers: true }),
            ),
        ),
      act: async (context, options, [ident = ""]) => {
        const extra =
          options.configDrive === undefined ? {} : { configdrive: await readConfigDrive(options.configDrive) };
        const patch = imagePatch(options);
        if (patch.length > 0) await context.call("node.update", { node: ident, patch });
        return await provision(context, { ident, target, goal: stateGoal("active"), options, extra });
      },
    });
  }

  const power = node.command("power").description("switch a machine on, off, or off and on");
  for (const { name, target, soft, state, summary } of POWER) {
    verb<Waiting & { readonly soft?: boolean }>(power, parts, {
      declaration: `${name} <node>`,
      summary,
      examples: [`ironrack node power ${name} r1n1 --wait`],
      configure: (command) =>
        waiting(name === "on" ? command : command.option("--soft", "ask the operating system to shut down")),
      act: async (context, options, [ident = ""]) => {
        const timeout = timeoutOf(options);
        const after = options.wait === true ? await newestSeq(context) : 0;
        const result = await context.call("node.set_power_state", {
          node: ident,
          target: options.soft === true ? soft : target,
        });
        if (options.wait !== true) {
          if (!context.json) context.terminal.out(`${ident}: ${target} is asked for\n`);
          return result;
        }
        const reached = await followNode(context, {
          node: ident,
          goal: powerGoal(state),
          after,
          timeout,
        });
        if (!context.json) context.terminal.out(`${ident} is "${cell(reached["power_state"])}"\n`);
        return reached;
      },
    });
  }
}

async function provision(
  context: Context,
  work: {
    readonly ident: string;
    readonly target: string;
    readonly goal: Goal;
    readonly options: Waiting;
    readonly extra: JsonObject;
  },
): Promise<Json> {
  const { ident, target, goal, options, extra } = work;
  const timeout = timeoutOf(options);
  const after = options.wait === true ? await newestSeq(context) : 0;
  const result = await context.call("node.set_provision_state", { node: ident, target, ...extra });
  if (options.wait !== true) {
    const state = isJsonObject(result) ? stringProperty(result, "provision_state") : undefined;
    if (!context.json)
      context.terminal.out(`${ident} is "${state ?? "?"}"; see how it goes: ironrack logs --follow ${ident}\n`);
    return result;
  }
  const node = await followNode(context, { node: ident, goal, after, timeout });
  if (!context.json) context.terminal.out(`${ident} is "${cell(node["provision_state"])}"\n`);
  return node;
}

function timeoutOf(options: Waiting): Millis | undefined {
  if (options.timeout === undefined) return undefined;
  if (options.wait !== true) throw invalid("timeout", "goes with --wait");
  const value = Number(options.timeout);
  if (!Number.isFinite(value) || value <= 0)
    throw invalid("timeout", `"${options.timeout}" is not a number of seconds`);
  return seconds(value);
}

function parseSteps(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value)) return value as readonly Json[];
  } catch {
    // Said below.
  }
  throw invalid("clean-steps", "must be a JSON array of {interface, step, args?}");
}

/** What instance_info gets for the image. An earlier image's checksum must not outlive it. */
function imagePatch(options: Deploy): JsonObject[] {
  const patch: JsonObject[] = [];
  const set = (key: string, value: Json): void => void patch.push(replace(["instance_info", key], value));
  if (options.imageSource !== undefined) {
    set("image_source", options.imageSource);
    const format = options.imageFormat ?? formatByName(options.imageSource);
    if (format !== undefined) set("image_disk_format", format);
  }
  if (options.imageChecksum !== undefined) {
    const [, algorithm, value] = /^([a-z0-9]+):([0-9a-fA-F]+)$/.exec(options.imageChecksum) ?? [];
    if (algorithm === undefined || value === undefined)
      throw invalid("image-checksum", "must be ALGORITHM:HEX, e.g. sha256:9f2c…");
    set("image_os_hash_algo", algorithm);
    set("image_os_hash_value", value.toLowerCase());
  }
  if (options.rootDevice !== undefined) set("root_device", options.rootDevice);
  return patch;
}
