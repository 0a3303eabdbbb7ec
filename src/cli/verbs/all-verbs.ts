import type { Command } from "commander";
import { addBoot } from "./boot-verbs.ts";
import { addNodeChanging } from "./node-changing.ts";
import { addNodeReading } from "./node-reading.ts";
import { addNodeWork } from "./node-work.ts";
import { addCommands, addEvents, addLeases, addPorts, addStatus } from "./other-verbs.ts";
import { addVolumes } from "./volume-verbs.ts";
import type { VerbParts } from "./verb.ts";

/** Puts every verb under `parent`. */
export function addVerbs(parent: Command, parts: VerbParts): void {
  addStatus(parent, parts);
  const node = parent.command("node").description("the machines of the rack");
  addNodeReading(node, parts);
  addNodeChanging(node, parts);
  addNodeWork(node, parts);
  addPorts(parent, parts);
  addVolumes(parent, parts);
  addEvents(parent, parts);
  addBoot(parent, parts);
  addLeases(parent, parts);
  addCommands(parent, parts);
}
