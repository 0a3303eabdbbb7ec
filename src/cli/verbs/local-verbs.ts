import type { Command } from "commander";
import { toFault } from "../../core/fault.ts";
import { checkConfig, problemLine } from "../../config/load.ts";
import { type CliParts, report } from "../context.ts";
import { examine } from "../doctor.ts";
import { table } from "../table.ts";

interface LocalOptions {
  readonly config: string;
  readonly socket?: string;
}

/** The verbs that look at this appliance itself, whether its daemon runs or not. */
export function addLocalVerbs(program: Command, cli: CliParts): void {
  const { terminal, clock, interrupted: signal } = cli;
  program
    .command("doctor")
    .description("look for what keeps this appliance from working")
    .option("--json", "print JSON, for programs")
    .addHelpText("after", "\nExit status 1 when something is bad, 0 when there are warnings at most.\n")
    .action(async (options: { readonly json?: boolean }) => {
      try {
        const { config, socket } = program.opts<LocalOptions>();
        const findings = await examine({ configPath: config, socket, clock, signal });
        if (options.json === true) terminal.out(`${JSON.stringify({ findings })}\n`);
        else
          terminal.out(
            table(
              ["CHECK", "STATE", "WHAT IT SAYS"],
              findings.map(({ check, state, says }) => [check, state, says]),
            ),
          );
        cli.exit(findings.some(({ state }) => state === "bad") ? 1 : 0);
      } catch (error) {
        report(cli, toFault(error), options.json === true);
      }
    });
  program
    .command("config")
    .description("the daemon's configuration")
    .command("check [file]")
    .description("name every problem of the configuration with its line and column")
    .option("--json", "print JSON, for programs")
    .action((file: string | undefined, options: { readonly json?: boolean }) => {
      const path = file ?? program.opts<LocalOptions>().config;
      const { problems } = checkConfig(path);
      if (options.json === true) terminal.out(`${JSON.stringify({ problems })}\n`);
      else if (problems.length === 0) terminal.out(`${path}: no problems\n`);
      else for (const problem of problems) terminal.err(`${problemLine(problem)}\n`);
      cli.exit(problems.length === 0 ? 0 : 2);
    });
}
