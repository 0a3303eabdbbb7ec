import { Type } from "typebox";
import type { JsonObject } from "../../core/json.ts";
import { type Command, command } from "../catalogue.ts";
import { agentCommands } from "./agent-commands.ts";
import { bootCommands } from "./boot-commands.ts";
import { eventCommands } from "./event-commands.ts";
import { nodeCommands } from "./node-commands.ts";
import type { ConductorParts } from "./parts.ts";
import { portCommands } from "./port-commands.ts";
import { powerCommands } from "./power-commands.ts";
import { provisionCommand } from "./provision-command.ts";
import { volumeCommands } from "./volume-commands.ts";
import { closed, freeObject } from "./schemas.ts";

/** Every command there is, in the order in which help shows them. `status` adds what the composition root knows. */
export function allCommands(parts: ConductorParts, status: () => JsonObject): readonly Command[] {
  const commands: readonly Command[] = [
    ...nodeCommands(parts),
    provisionCommand(parts),
    ...powerCommands(parts),
    ...portCommands(parts),
    ...volumeCommands(parts),
    ...eventCommands(parts, status),
    ...bootCommands(parts),
    ...agentCommands(parts),
  ];
  const list: Command = command({
    name: "command.list",
    summary: "The commands and their schemas",
    changes: false,
    params: Type.Object({}, closed),
    result: Type.Object({ commands: Type.Array(freeObject) }, closed),
    handle: async () => ({
      // A schema is JSON by construction.
      commands: [list, ...commands].map(
        ({ name, summary, role, changes, params, result }) =>
          ({ name, summary, role, changes, params, result }) as unknown as JsonObject,
      ),
    }),
  });
  return [list, ...commands];
}
