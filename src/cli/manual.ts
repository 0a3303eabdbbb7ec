import type { Argument, Command, Option } from "commander";
import { EXIT_STATUS } from "./context.ts";

/** docs/cli.md: every verb with its options, from the same definitions as --help. */
export function manual(program: Command): string {
  const site = program.commands.find((command) => command.name() === "site");
  const shown = visible(program).filter((command) => command !== site);
  return `# The command line

<!-- Made from the definitions in src/cli by test/write-docs.ts; test/unit/cli/manual.test.ts holds it to them. -->

\`ironrack\` talks to the ironrackd of this appliance over its socket. While the daemon is down, verbs that only read answer
from its store, and say so. \`ironrack site …\` has the same verbs over MQTT, as the central site uses them. Every verb takes
\`--json\`, which prints the rack's answer and nothing else on stdout (\`events --follow --json\`: a line for each event); failures
are then \`{"error":{kind, code, message, detail}}\` on stderr.

A verb that takes long comes back at once; with \`--wait\` it stays, shows what happens, and fails if the work fails. Ctrl-C and
\`--timeout\` end the waiting, never the work.

Completion for bash: \`source <(ironrack completion)\`.

## Options before or after every verb

${optionTable(program.options)}
${shown.map((command) => section(command, "ironrack", 2)).join("")}${site === undefined ? "" : siteSection(site)}
## Exit status

\`\`\`
${EXIT_STATUS.split("\n")
  .slice(1)
  .map((line) => line.trim())
  .join("\n")}
\`\`\`
`;
}

function siteSection(site: Command): string {
  return `## ironrack site

${sentence(site.description())}

${optionTable(site.options)}`;
}

function section(command: Command, above: string, level: number): string {
  const name = `${above} ${command.name()}`;
  const verbs = visible(command);
  if (verbs.length > 0) {
    return `${"#".repeat(level)} ${name}\n\n${sentence(command.description())}\n\n${verbs.map((verb) => section(verb, name, level + 1)).join("")}`;
  }
  const usage = [name, ...command.registeredArguments.map(argumentWord)].join(" ");
  const own = command.options.filter(({ long }) => long !== "--json");
  const examples = examplesOf(command);
  return [
    `${"#".repeat(level)} \`${usage}\`\n\n${sentence(command.description())}\n\n`,
    own.length === 0 ? "" : `${optionTable(own)}\n`,
    examples.length === 0 ? "" : `\`\`\`sh\n${examples.join("\n")}\n\`\`\`\n\n`,
  ].join("");
}

/** What help shows: commander's own \`help\` and hidden commands are left out. */
function visible(command: Command): readonly Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((one) => one.name() !== "help");
}

function argumentWord(argument: Argument): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
}

function sentence(text: string): string {
  const whole = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function optionTable(options: readonly Option[]): string {
  const rows = options.map((option) => {
    const fallback: unknown = option.defaultValue;
    const about = `${option.mandatory ? "required; " : ""}${option.description}${typeof fallback === "string" ? ` (default: ${fallback})` : ""}`;
    return `| \`${option.flags.replaceAll("|", "\\|")}\` | ${about.replaceAll("|", "\\|")} |\n`;
  });
  return `| option | |\n| --- | --- |\n${rows.join("")}`;
}

const examples = new WeakMap<Command, readonly string[]>();

/** Remembers a verb's examples, which commander keeps only as text of its help. */
export function rememberExamples(command: Command, lines: readonly string[]): void {
  examples.set(command, lines);
}

function examplesOf(command: Command): readonly string[] {
  return examples.get(command) ?? [];
}
