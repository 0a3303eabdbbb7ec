import { renderFile, renderMarkdown, renderOptions } from "../src/config/document.ts";
import { VERSION } from "../src/core/version.ts";
import { asyncApi } from "../src/mqtt/async-api.ts";
import { channelDocument } from "../src/mqtt/channel-document.ts";
import { manual } from "../src/cli/manual.ts";
import { buildProgram } from "../src/cli/program.ts";
import { SystemClock } from "../src/core/clock.ts";
import { SystemRandom } from "../src/core/random.ts";
import { FakeRack } from "./peer/fake-rack.ts";

/** docs/cli.md as the present verbs make it. */
export function cliManual(): string {
  const terminal = { out: () => {}, err: () => {}, outWidth: undefined, errWidth: undefined };
  const interrupted = new AbortController().signal;
  const parts = {
    terminal,
    clock: new SystemClock(),
    random: new SystemRandom(),
    version: VERSION,
    interrupted,
    exit: () => {},
  };
  return manual(buildProgram(parts));
}

/** The documents of the command channel as the present schemas make them, by their paths in the repository. */
export async function channelDocuments(): Promise<ReadonlyMap<string, string>> {
  await using rack = await FakeRack.open();
  const { commands } = rack.catalogue;
  return new Map([
    ["docs/mqtt.md", channelDocument(commands)],
    [
      "docs/asyncapi.json",
      `${JSON.stringify(
        asyncApi(
          commands.filter(({ role }) => role === "operator"),
          VERSION,
        ),
        null,
        2,
      )}\n`,
    ],
  ]);
}

/** The shipped configuration and its documentation, both made of the one table of keys. */
export function configDocuments(): ReadonlyMap<string, string> {
  return new Map([
    ["appliance.conf", renderFile()],
    ["docs/configuration.md", renderMarkdown()],
    ["docs/dhcp-options.md", renderOptions()],
  ]);
}
