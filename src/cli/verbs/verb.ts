import type { Command } from "commander";
import type { Json } from "../../core/json.ts";
import { rememberExamples } from "../manual.ts";
import { type CliParts, type Context, type OpenTransport, runVerb } from "../context.ts";

/** How verbs are put under a command; the same verbs stand under `ironrack` and under `ironrack site`. */
export interface VerbParts {
  readonly cli: CliParts;
  readonly open: OpenTransport;
}

/**
 * Adds a verb: `declaration` as commander reads it ("show <node>"). `act` prints for people, unless the context wants JSON, and
 * returns what a program gets.
 */
export function verb<Options extends object>(
  parent: Command,
  parts: VerbParts,
  definition: {
    readonly declaration: string;
    readonly summary: string;
    readonly examples?: readonly string[];
    readonly configure?: (command: Command) => Command;
    readonly act: (context: Context, options: Options, args: readonly string[]) => Promise<Json | undefined>;
  },
): Command {
  const command = parent
    .command(definition.declaration)
    .description(definition.summary)
    .option("--json", "print JSON, for programs");
  definition.configure?.(command);
  if (definition.examples !== undefined) {
    rememberExamples(command, definition.examples);
    command.addHelpText("after", `\nExamples:\n${definition.examples.map((example) => `  ${example}\n`).join("")}`);
  }
  return command.action(async () => {
    // commander gives options untyped; their shape is what `configure` declared.
    const options = command.opts<Options & { readonly json?: boolean }>();
    await runVerb(
      parts.cli,
      async () => await parts.open(command),
      options,
      async (context) => await definition.act(context, options, command.args),
    );
  });
}
