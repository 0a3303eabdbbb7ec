import { mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import { Fault, toFault } from "../../src/core/fault.ts";
import type { Daemon } from "./daemon.ts";
import { DemoNode } from "./demo-node.ts";
import { DEMO_HELP, demoMachines, type DemoOptions, parseDemoOptions } from "./demo-options.ts";
import { type DemoReport, reportJson, reportTable } from "./demo-report.ts";
import { type Lab, openLab } from "./lab.ts";
import { ProgressView } from "./progress-view.ts";
import type { VirtualRack } from "./virtual-rack.ts";

const clock = new SystemClock();

const FAILED = 1;
const WRONG_USE = 2;
const INTERRUPTED = 130;

/** `npm run demo`: the exit status is 0 only when every machine went the whole way. */
async function main(args: readonly string[]): Promise<number> {
  let options: DemoOptions;
  try {
    options = parseDemoOptions(args);
  } catch (error) {
    process.stderr.write(`${toFault(error).message}\n\n${DEMO_HELP}`);
    return WRONG_USE;
  }
  if (options.help) {
    process.stdout.write(DEMO_HELP);
    return 0;
  }
  const directory = mkdtempSync(join(tmpdir(), "ironrack-demo-"));
  const interrupt = new AbortController();
  const onSignal = (): void => {
    if (interrupt.signal.aborted) process.exit(INTERRUPTED); // the second time: at once, and the rack dies with us
    interrupt.abort(new Fault("cancelled", "demo.interrupted", "interrupted"));
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  const report = await demonstrate(options, directory, interrupt.signal);
  if (report.ok || interrupt.signal.aborted) rmSync(directory, { recursive: true, force: true });
  if (interrupt.signal.aborted && !report.ok) return INTERRUPTED;
  return report.ok ? 0 : FAILED;
}

function tell(report: DemoReport, { json }: DemoOptions): void {
  if (json) process.stdout.write(`${reportJson(report)}\n`);
  else if (report.nodes.length > 0) process.stdout.write(`\n${reportTable(report)}\n`);
}

/** Tells how it went, and answers it. Never rejects: what went wrong before the nodes began is told, and the report is not ok. */
async function demonstrate(options: DemoOptions, directory: string, interrupted: AbortSignal): Promise<DemoReport> {
  const began = clock.now();
  const elapsed = (): number => Math.round((clock.now() - began) / 100) / 10;
  const machines = demoMachines(options);
  const screen = options.json ? process.stderr : process.stdout;
  using view = new ProgressView(screen, elapsed, machines);
  let report: DemoReport = { ok: false, nodes: [], seconds: 0 };
  try {
    await using lab = await openLab({ machines, directory });
    const { rack, daemon, files } = lab;
    view.note(
      `rack: ${machines.length} machines with BMCs, broker ${rack.broker.url}; logs and consoles in ${directory}`,
    );
    await abortable(interrupted, daemon.start());
    view.note("ironrackd is ready; from here on the site leads, over MQTT");
    const nodes = await abortable(interrupted, leadAll(lab, view, interrupted));
    tellFailures(view, nodes, rack, daemon);
    report = { ok: nodes.every((node) => node.failure === null), nodes, seconds: elapsed() };
    view[Symbol.dispose]();
    tell(report, options);
    if (options.keep) await keep(rack, files.socket, interrupted);
  } catch (error) {
    const fault = toFault(error);
    view.note(fault.kind === "cancelled" ? "interrupted; everything is being taken down" : `failed: ${fault.message}`);
    if (fault.kind === "internal" && fault.cause instanceof Error) view.note(String(fault.cause.stack));
    if (!interrupted.aborted && readdirSync(directory).length > 0) view.note(`logs and consoles are in ${directory}`);
    report = { ...report, ok: false, seconds: elapsed() };
    tell(report, options);
  }
  removeDisks(directory);
  return report;
}

/** Leaves everything running until Ctrl-C. */
async function keep(rack: VirtualRack, socket: string, interrupted: AbortSignal): Promise<void> {
  process.stderr.write(
    `\nThe rack runs until Ctrl-C. Look around in it:  nsenter --target ${rack.pid} --all\nAsk the appliance:  node build/src/cli/main.js --socket ${socket} status\n`,
  );
  await abortable(interrupted, new Promise<never>(() => undefined)).catch(() => undefined);
}

/** All nodes side by side. */
async function leadAll(lab: Lab, view: ProgressView, interrupted: AbortSignal): Promise<DemoReport["nodes"]> {
  const patience = Math.max(1, lab.rack.machines.length / 2);
  const nodes = lab.rack.machines.map((subject) => new DemoNode({ lab, subject, view, clock, patience, interrupted }));
  await using _events = lab.cli.follow((event) => {
    view.event(event);
    for (const node of nodes) node.event(event);
  });
  return await Promise.all(nodes.map(async (node) => await node.run()));
}

function tellFailures(view: ProgressView, nodes: DemoReport["nodes"], rack: VirtualRack, daemon: Daemon): void {
  for (const { node, failure } of nodes) {
    if (failure === null) continue;
    const machine = rack.machines.find((one) => one.machine.name === node)?.machine;
    view.note(`${node} failed at ${failure.stage}: ${failure.reason}`);
    view.note(`  its console: ${machine?.consoleLog ?? "?"}; the log of ironrackd: ${daemon.logFile}`);
  }
}

/** The disks are large and say nothing; logs and consoles stay, if there are any. */
function removeDisks(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (/\.(disk\d+|vars)$/.test(name)) rmSync(join(directory, name), { force: true });
  }
  if (readdirSync(directory).length === 0) rmdirSync(directory);
}

/** The promise, or the signal's reason as soon as it aborts. */
function abortable<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(toFault(signal.reason));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

process.exitCode = await main(process.argv.slice(2));
process.exit();
