import { readFile } from "node:fs/promises";
import { Command, CommanderError } from "commander";
import { Fault, isFault } from "../core/fault.ts";
import type { Random } from "../core/random.ts";
import { Secret } from "../core/secret.ts";
import { type CliParts, EXIT_STATUS } from "./context.ts";
import { SocketTransport } from "./socket-transport.ts";
import type { Transport } from "./transport.ts";
import { addVerbs } from "./verbs/all-verbs.ts";
import { addLocalVerbs, DEFAULT_SOCKET, type LocalOptions } from "./verbs/local-verbs.ts";

export interface ProgramParts extends CliParts {
  readonly random: Random;
  readonly version: string;
}

const DEFAULT_CONFIG = "/etc/ironrack/appliance.conf";

/** The whole command line of `ironrack`. */
export function buildProgram(parts: ProgramParts): Command {
  const program = new Command("ironrack")
    .description(
      "Works with the rack's machines through the ironrackd of this appliance, or, as `ironrack site`, of any rack over MQTT.",
    )
    .version(parts.version, "-V, --version")
    .option("--socket <PATH>", `the daemon's socket (default: ${DEFAULT_SOCKET})`)
    .option("--config <FILE>", "its configuration, for when it is down", DEFAULT_CONFIG)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ writeOut: (text) => parts.terminal.out(text), writeErr: (text) => parts.terminal.err(text) })
    .addHelpText("after", `\n${EXIT_STATUS}\n\nWhen the daemon is down: systemctl status ironrackd; ironrack doctor`);
  addVerbs(program, { cli: parts, open: async () => await openLocal(parts, program.opts<LocalOptions>()) });
  addLocalVerbs(program, parts);
  addSite(program, parts);
  return program;
}

/** The daemon's socket, or, when nobody listens there, its store to read. */
async function openLocal(parts: ProgramParts, options: LocalOptions): Promise<Transport> {
  const { clock, terminal } = parts;
  const transport = new SocketTransport(options.socket ?? DEFAULT_SOCKET, clock);
  try {
    await transport.open();
    return transport;
  } catch (error) {
    if (!isFault(error) || error.code !== "daemon.down") throw error;
    // Loaded when they are wanted: on most days they are not.
    const [{ loadConfig }, { StoreTransport }] = await Promise.all([
      import("../config/load.ts"),
      import("./store-transport.ts"),
    ]);
    const stateDirectory = (): string => loadConfig(options.config).appliance.stateDir;
    return new StoreTransport({ down: error, stateDirectory, clock, note: (text) => terminal.err(text) });
  }
}

interface SiteOptions {
  readonly broker: string;
  readonly site: string;
  readonly rack: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

function addSite(program: Command, parts: ProgramParts): void {
  const site = program
    .command("site")
    .description("the same verbs over MQTT, as the central site sends them")
    .requiredOption("--broker <URL>", "the site's broker, mqtt://host:1883 or mqtts://host:8883")
    .requiredOption("--site <NAME>", "the site's name in the topics")
    .requiredOption("--rack <NAME>", "the rack's name in the topics")
    .option("--username <NAME>", "user name at the broker")
    .option("--password-file <FILE>", "file with the password at the broker")
    .option("--ca-file <FILE>", "PEM file of the authorities that sign the broker's certificate")
    .option("--cert-file <FILE>", "PEM file with a certificate for the broker")
    .option("--key-file <FILE>", "PEM file with its key")
    .addHelpText(
      "after",
      "\nExample:\n  ironrack site --broker mqtts://broker.example.org --username ops --password-file pw --site berlin --rack r1 node list\n",
    );
  addVerbs(site, { cli: parts, open: async () => await openSite(parts, site.opts<SiteOptions>()) });
}

async function openSite(parts: ProgramParts, options: SiteOptions): Promise<Transport> {
  const file = async (path: string | undefined): Promise<string | undefined> =>
    path === undefined ? undefined : await readText(path);
  const [password, ca, cert, key] = await Promise.all(
    [options.passwordFile, options.caFile, options.certFile, options.keyFile].map(file),
  );
  // Loaded when it is wanted: the MQTT client is the larger half of this program.
  const { SiteTransport } = await import("./site-transport.ts");
  return new SiteTransport({
    server: {
      url: options.broker,
      clientId: `ironrack-site-${parts.random.uuid()}`,
      username: options.username,
      password: password === undefined ? undefined : new Secret(password.replace(/\r?\n$/, "")),
      tls: { ca, cert, key: key === undefined ? undefined : new Secret(key) },
      keepalive_s: 30,
      sessionExpiry_s: 0,
    },
    site: options.site,
    rack: options.rack,
    clock: parts.clock,
    random: parts.random,
  });
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new Fault("invalid", "file", `cannot read ${path}: ${cause instanceof Error ? cause.message : ""}`, {
      cause,
    });
  }
}

/** Runs the command line; the exit status goes to `parts.exit`. `args` are those after the program's name. */
export async function runProgram(parts: ProgramParts, args: readonly string[]): Promise<void> {
  try {
    await buildProgram(parts).parseAsync([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // commander has said what is wrong; asking for help is not wrong.
    parts.exit(error.exitCode === 0 ? 0 : 2);
  }
}
