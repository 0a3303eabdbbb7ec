import type { Command } from "commander";
import { isJsonObject, type Json, numberProperty, property, stringProperty } from "../../core/json.ts";
import { seconds } from "../../core/units.ts";
import { bootStepLine, bootStepWords } from "../boot-words.ts";
import type { Context } from "../context.ts";
import { cell, table } from "../table.ts";
import { objects } from "./node-reading.ts";
import { verb, type VerbParts } from "./verb.ts";

/** How long one question waits for the next step, in seconds. */
const POLL = 20;
const PATIENCE = seconds(POLL + 30);

/** What machines do while they boot over the network. */
export function addBoot(parent: Command, parts: VerbParts): void {
  const boot = parent.command("boot").description("how machines boot over the network");
  verb<{ readonly follow?: boolean }>(boot, parts, {
    declaration: "trace <machine>",
    summary: "tell each step of a machine's boot, with reasons; by MAC or IP address, node name or UUID",
    examples: [
      "ironrack boot trace 52:54:00:12:34:56",
      "ironrack boot trace r1n1 --follow",
      "ironrack boot trace r1n1 --follow --json   (a line for each step)",
    ],
    configure: (command) => command.option("--follow", "go on until Ctrl-C"),
    act: async (context, options, [machine = ""]) => {
      const result = await context.call("boot.trace", { machine });
      const steps = objects(isJsonObject(result) ? property(result, "steps") : undefined);
      const { json, terminal } = context;
      if (options.follow === true) return await follow(context, machine, result);
      if (!json) {
        for (const step of steps) terminal.out(`${bootStepLine(step)}\n`);
        if (steps.length === 0) terminal.out(`nothing was heard of ${machine} since the daemon started\n`);
      }
      return result;
    },
  });
  verb(boot, parts, {
    declaration: "list",
    summary: "list the machines whose boot was seen since the daemon started, the latest first",
    act: async ({ call, json, terminal }) => {
      const result = await call("boot.machines", {});
      if (!json) {
        const rows = objects(isJsonObject(result) ? property(result, "machines") : undefined).map((one) => {
          const last = property(one, "last");
          const step = isJsonObject(last) ? last : {};
          const fields = property(step, "fields");
          return [
            cell(one["machine"]),
            stringProperty(one, "name") ?? cell(one["node"]),
            cell(one["steps"]),
            (stringProperty(step, "time") ?? "").replace("T", " ").replace(/\.\d+Z$/, "Z"),
            bootStepWords(stringProperty(step, "event") ?? "", isJsonObject(fields) ? fields : {}),
          ];
        });
        terminal.out(table(["MACHINE", "NODE", "STEPS", "LAST", "WHAT"], rows, terminal.outWidth));
      }
      return result;
    },
  });
}

/** Prints the steps so far and then each as it comes. */
async function follow(context: Context, machine: string, first: Json): Promise<undefined> {
  const { transport, signal, terminal, json } = context;
  let result = first;
  for (;;) {
    const answer = isJsonObject(result) ? result : {};
    for (const step of objects(property(answer, "steps")))
      terminal.out(json ? `${JSON.stringify(step)}\n` : `${bootStepLine(step)}\n`);
    const after = numberProperty(answer, "last_seq") ?? 0;
    result = await transport.call("boot.trace", { machine, after, wait_s: POLL }, { signal, timeout: PATIENCE });
  }
}
