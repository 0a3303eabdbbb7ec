#!/usr/bin/env node
import { parseArgs } from "node:util";
import { Appliance } from "./appliance.ts";
import { SystemClock } from "./core/clock.ts";
import { environment } from "./core/environment.ts";
import { isFault } from "./core/fault.ts";
import { openLog } from "./core/log.ts";
import { VERSION } from "./core/version.ts";
import { checkWithFiles } from "./config/check.ts";
import type { Config } from "./config/config.ts";
import { problemLine } from "./config/load.ts";

const HELP = `ironrackd: provisions the machines of this rack

  ironrackd [--config FILE]           runs in the foreground until SIGTERM or SIGINT; SIGHUP: reads the certificate of boot
                                      HTTP again
  ironrackd [--config FILE] --check-config
                                      names every problem of the configuration with its line and column
  ironrackd --version | --help

  --config FILE   default /etc/ironrack/appliance.conf; files of conf.d beside it are read too

Exit status: 0 stopped in order or the configuration is right; 1 it could not start or a bug ended it; 2 wrong usage;
3 the configuration has problems.
`;

async function main(): Promise<number> {
  let options: { config?: string; "check-config"?: boolean; version?: boolean; help?: boolean };
  try {
    options = parseArgs({
      options: {
        config: { type: "string" },
        "check-config": { type: "boolean" },
        version: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`ironrackd: ${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return 2;
  }
  if (options.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.version === true) {
    process.stdout.write(`ironrackd ${VERSION}\n`);
    return 0;
  }
  const path = options.config ?? "/etc/ironrack/appliance.conf";
  let checked: ReturnType<typeof checkWithFiles>;
  try {
    checked = checkWithFiles(path, {
      secrets: options["check-config"] === true ? "optional" : "needed",
      credentialsDirectory: environment("CREDENTIALS_DIRECTORY"),
    });
  } catch (error) {
    if (!isFault(error)) throw error;
    process.stderr.write(`ironrackd: ${error.message}\n`);
    return 3;
  }
  const { config, problems } = checked;
  if (config === undefined || problems.length > 0) {
    process.stderr.write(`${problems.map(problemLine).join("\n")}\n`);
    return 3;
  }
  if (options["check-config"] === true) {
    process.stdout.write(`${path}: no problems\n`);
    return 0;
  }
  return await run(config);
}

/** Opens the appliance, serves until a signal, closes in reverse. */
async function run(config: Config): Promise<number> {
  const log = openLog({ level: config.appliance.logLevel, journal: environment("JOURNAL_STREAM") !== undefined });
  const stop = new Promise<string>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
  });
  // A bug in one callback must not end the work on every other machine; it is logged with its stack.
  process.on("unhandledRejection", (reason) => log.error("daemon.bug", { reason: String(reason) }, reason));
  // From the first moment on: without a handler SIGHUP would end the process.
  let reload = (): void => {};
  process.on("SIGHUP", () => reload());
  log.info("daemon.starting", { version: VERSION, name: config.appliance.name });
  let appliance: Appliance;
  try {
    appliance = await Appliance.open({ config, log, clock: new SystemClock() });
  } catch (error) {
    log.error(
      "daemon.stopped",
      { reason: error instanceof Error ? error.message : String(error) },
      isFault(error) ? undefined : error,
    );
    process.stderr.write(`ironrackd: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
  reload = () => appliance.reload();
  const signal = await stop;
  log.info("daemon.stopping", { reason: signal });
  reload = () => {};
  await appliance[Symbol.asyncDispose]();
  log.info("daemon.stopped");
  return 0;
}

process.exitCode = await main();
