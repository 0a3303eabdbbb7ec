import { type Command, Option } from "commander";
import { toFault } from "../../core/fault.ts";
import { isJsonObject, property, stringProperty } from "../../core/json.ts";
import { seconds } from "../../core/units.ts";
import { checkWithFiles } from "../../config/check.ts";
import { loadConfig, problemLine } from "../../config/load.ts";
import { BASH_COMPLETION, complete } from "../completion.ts";
import { type CliParts, report } from "../context.ts";
import { dhcpServers, staticBoot } from "../dhcp-config.ts";
import { examine } from "../doctor.ts";
import { SocketTransport } from "../socket-transport.ts";
import { table } from "../table.ts";
import { objects } from "./node-reading.ts";

/** The options of the whole program. */
export interface LocalOptions {
  readonly config: string;
  readonly socket?: string;
}

export const DEFAULT_SOCKET = "/run/ironrack/control.sock";

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
        const findings = await examine({ configPath: config, socket, defaultSocket: DEFAULT_SOCKET, clock, signal });
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
      const { problems } = checkWithFiles(path);
      if (options.json === true) terminal.out(`${JSON.stringify({ problems })}\n`);
      else if (problems.length === 0) terminal.out(`${path}: no problems\n`);
      else for (const problem of problems) terminal.err(`${problemLine(problem)}\n`);
      cli.exit(problems.length === 0 ? 0 : 2);
    });
  addDhcpConfig(program, cli);
  program
    .command("completion")
    .description("print the completion script for bash: source <(ironrack completion)")
    .action(() => terminal.out(BASH_COMPLETION));
  program.command("complete [words...]", { hidden: true }).action(async (words: readonly string[]) => {
    const { words: fixed, nodes } = complete(program, words);
    const names = nodes ? await nodeNames(program.opts<LocalOptions>().socket, words.at(-1) ?? "", cli) : [];
    terminal.out([...fixed, ...names].map((word) => `${word}\n`).join(""));
  });
}

/** Under `boot`, beside the verbs that ask the daemon: this one needs the configuration only. */
function addDhcpConfig(program: Command, cli: CliParts): void {
  const boot = program.commands.find((command) => command.name() === "boot");
  boot
    ?.command("dhcp-config")
    .description("print what another DHCP server must tell machines, for where ironrack gives out no addresses")
    .addOption(
      new Option("--for <SERVER>", "whose configuration").choices([...dhcpServers.keys()]).makeOptionMandatory(),
    )
    .addHelpText("after", "\nExample:\n  ironrack boot dhcp-config --for dnsmasq > /etc/dnsmasq.d/ironrack.conf\n")
    .action((options: { readonly for: string }) => {
      try {
        const config = loadConfig(program.opts<LocalOptions>().config);
        cli.terminal.out(dhcpServers.get(options.for)?.(staticBoot(config)) ?? "");
      } catch (error) {
        report(cli, toFault(error), false);
      }
    });
}

/** The nodes whose names begin with `start`; none when the daemon does not answer at once. */
async function nodeNames(
  socket: string | undefined,
  start: string,
  { clock, interrupted: signal }: CliParts,
): Promise<readonly string[]> {
  try {
    await using transport = new SocketTransport(socket ?? DEFAULT_SOCKET, clock);
    const answer = await transport.call("node.list", {}, { signal, timeout: seconds(2) });
    const names = objects(isJsonObject(answer) ? property(answer, "nodes") : undefined).map((node) =>
      stringProperty(node, "name"),
    );
    return names.filter((name): name is string => name?.startsWith(start) === true).toSorted();
  } catch {
    return []; // A shell that waits for a TAB is no place for an error.
  }
}
