import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Fault } from "../../src/core/fault.ts";
import { isJsonObject, type Json, type JsonObject, objectProperty, stringProperty } from "../../src/core/json.ts";
import type { Account } from "./broker.ts";
import type { Child } from "./child.ts";
import { BUILD } from "./daemon.ts";
import type { VirtualRack } from "./virtual-rack.ts";

export interface SiteCliOptions {
  readonly rack: VirtualRack;
  readonly account: Account;
  readonly siteName: string;
  readonly rackName: string;
}

/** The central site, acting through `ironrack site …`: a process of its own in the site's network for every command. */
export class SiteCli {
  readonly #rack: VirtualRack;
  readonly #prefix: readonly string[];

  constructor(options: SiteCliOptions) {
    const { rack, account, siteName, rackName } = options;
    const passwordFile = join(rack.directory, "site.password");
    writeFileSync(passwordFile, `${account.password}\n`, { mode: 0o600 });
    this.#rack = rack;
    const place = ["--site", siteName, "--rack", rackName];
    const access = ["--broker", rack.broker.url, "--username", account.username, "--password-file", passwordFile];
    const program = [process.execPath, "--enable-source-maps", join(BUILD, "src/cli/main.js")];
    this.#prefix = [...program, "site", ...access, ...place];
  }

  spawn(args: readonly string[]): Child {
    return this.#rack.site.spawn([...this.#prefix, ...args]);
  }

  /** Runs a verb with --json and answers what it printed. @throws Fault refused with what the CLI said */
  async run(args: readonly string[]): Promise<Json> {
    const outcome = await this.spawn([...args, "--json"]).ended;
    if (outcome.code !== 0) {
      const said =
        errorWords(outcome.stderr) ?? lastWords(outcome.stdout) ?? `ended with ${outcome.signal ?? outcome.code}`;
      throw new Fault("refused", "site.cli", `${args.slice(0, 3).join(" ")}: ${said}`, {
        detail: { exit: outcome.code },
      });
    }
    const text = outcome.stdout.trim();
    return text === "" ? null : (JSON.parse(text) as Json);
  }

  async node(name: string): Promise<JsonObject> {
    const node = await this.run(["node", "show", name]);
    if (!isJsonObject(node)) throw new Fault("malformed", "site.cli", `node show ${name} printed no object`);
    return node;
  }

  /** Hands every event to `onEvent` as it comes, until the returned child is stopped. */
  follow(onEvent: (event: JsonObject) => void): Child {
    const child = this.spawn(["events", "--follow", "--json"]);
    if (child.process.stdout === null) throw new Fault("internal", "site.cli", "the CLI has no output");
    createInterface({ input: child.process.stdout }).on("line", (line) => {
      const event: unknown = line.startsWith("{") ? JSON.parse(line) : undefined;
      if (isJsonObject(event)) onEvent(event);
    });
    return child;
  }
}

/** The message of the CLI's `{"error": {…}}`, which is the last line that it writes with --json; else what it wrote. */
export function errorWords(text: string): string | undefined {
  const line = text.trim().split("\n").at(-1) ?? "";
  try {
    const value: unknown = JSON.parse(line);
    const error = isJsonObject(value) ? objectProperty(value, "error") : undefined;
    return error === undefined ? lastWords(text) : (stringProperty(error, "message") ?? lastWords(text));
  } catch {
    return lastWords(text);
  }
}

function lastWords(text: string): string | undefined {
  const trimmed = text.trim();
  return trimmed === "" ? undefined : trimmed.slice(-1000);
}
