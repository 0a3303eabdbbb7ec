#!/usr/bin/env node
import { SystemClock } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import { SystemRandom } from "../core/random.ts";
import { VERSION } from "../core/version.ts";
import { runProgram } from "./program.ts";
import { processTerminal } from "./terminal.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () =>
    interrupted.abort(new Fault("cancelled", "interrupted", "interrupted; what the rack was asked for goes on there")),
  );
}
// A reader such as `head` that has enough is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

await runProgram(
  {
    terminal: processTerminal,
    clock: new SystemClock(),
    random: new SystemRandom(),
    version: VERSION,
    interrupted: interrupted.signal,
    exit: (status) => {
      process.exitCode = status;
    },
  },
  process.argv.slice(2),
);
