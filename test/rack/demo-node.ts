import { closeSync, openSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import { Fault, toFault } from "../../src/core/fault.ts";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  numberProperty,
  objectProperty,
  property,
  stringProperty,
} from "../../src/core/json.ts";
import { seconds } from "../../src/core/units.ts";
import { configDrive } from "./config-drive.ts";
import type { NodeReport, StageReport } from "./demo-report.ts";
import type { Lab } from "./lab.ts";
import { PROVISIONING } from "./network.ts";
import { streamProgress, type StreamProgress } from "./node-progress.ts";
import type { ProgressView } from "./progress-view.ts";
import type { RackMachine } from "./virtual-rack.ts";

export interface DemoNodeParts {
  readonly lab: Lab;
  readonly subject: RackMachine;
  readonly view: ProgressView;
  readonly clock: Clock;
  /** Multiplies every deadline: many machines share the processors. */
  readonly patience: number;
  /** Aborts when the person at the terminal has had enough: nothing more is shown. */
  readonly interrupted: AbortSignal;
}

/** One machine's way through the demonstration, as the central site leads it. */
export class DemoNode {
  readonly #parts: DemoNodeParts;
  readonly #name: string;
  readonly #hostName: string;
  readonly #stages: StageReport[] = [];
  #streams: readonly { readonly at: number; readonly progress: StreamProgress }[] = [];
  #consoleMark = 0;

  constructor(parts: DemoNodeParts) {
    this.#parts = parts;
    this.#name = parts.subject.machine.name;
    this.#hostName = `deployed-${this.#name}`;
  }

  /** Takes an event of the rack; keeps what the report needs. */
  event(event: JsonObject): void {
    if (event["name"] !== this.#name || event["type"] !== "node.step.progress") return;
    const data = objectProperty(event, "data") ?? {};
    if (data["step"] !== "deploy.write_image") return;
    const progress = streamProgress(data);
    const at = Date.parse(stringProperty(event, "time") ?? "");
    this.#streams = [...this.#streams, { at, progress }];
  }

  /** All stages in order; the first failure ends it and stands in the report. */
  async run(): Promise<NodeReport> {
    const { view, clock } = this.#parts;
    const stages: readonly (readonly [string, () => Promise<void>])[] = [
      ["enroll", () => this.#enroll()],
      ["manage", () => this.#verb("manage", "manageable", 120)],
      ["inspect", () => this.#inspect()],
      ["provide", () => this.#verb("provide", "available", 900)],
      ["deploy", () => this.#deploy()],
      ["verify", () => this.#verify()],
      ["undeploy", () => this.#undeploy()],
    ];
    for (const [stage, act] of stages) {
      view.stage(this.#name, stage);
      const began = clock.now();
      try {
        await act();
      } catch (error) {
        const reason = toFault(error).message;
        if (!this.#parts.interrupted.aborted) view.stage(this.#name, `${stage} FAILED: ${reason}`, "failed");
        return this.#report({ stage, reason });
      }
      this.#stages.push({ stage, seconds: Math.round((clock.now() - began) / 100) / 10 });
    }
    view.stage(this.#name, "done", "done");
    return this.#report(null);
  }

  #report(failure: NodeReport["failure"]): NodeReport {
    const { firmware } = this.#parts.subject.machine;
    return { node: this.#name, firmware, stages: this.#stages, ...streamSummary(this.#streams), failure };
  }

  async #enroll(): Promise<void> {
    const { subject, lab } = this.#parts;
    const { bmc, machine } = subject;
    const info = [
      `ipmi_address=${bmc.address}`,
      `ipmi_port=${bmc.port}`,
      `ipmi_username=${bmc.username}`,
      `ipmi_password=${bmc.password}`,
    ].flatMap((pair) => ["--driver-info", pair]);
    await lab.cli.run(["node", "create", "--driver", "ipmi", "--name", this.#name, ...info]);
    await lab.cli.run(["port", "create", "--node", this.#name, "--address", machine.mac]);
    await this.#expectState("enroll");
  }

  /** Gives a provision verb, waits for its end and checks where the node stands. */
  async #verb(verb: string, state: string, timeout: number, options: readonly string[] = []): Promise<void> {
    const { lab, patience } = this.#parts;
    const wait = ["--wait", "--timeout", String(Math.ceil(timeout * patience))];
    try {
      await lab.cli.run(["node", verb, this.#name, ...options, ...wait]);
    } catch (error) {
      throw await this.#withLastError(error);
    }
    await this.#expectState(state);
  }

  /** The node's own last error, where the CLI did not say it. */
  async #withLastError(error: unknown): Promise<Fault> {
    const fault = toFault(error);
    try {
      const node = await this.#parts.lab.cli.node(this.#name);
      const lastError = stringProperty(node, "last_error");
      if (lastError === undefined || fault.message.includes(lastError)) return fault;
      return new Fault(fault.kind, fault.code, `${fault.message} (last error: ${lastError})`, { cause: error });
    } catch {
      return fault;
    }
  }

  async #expectState(state: string): Promise<void> {
    const node = await this.#parts.lab.cli.node(this.#name);
    const found = stringProperty(node, "provision_state");
    if (found === state) return;
    const lastError = stringProperty(node, "last_error") ?? "no error is recorded";
    throw new Fault("conflict", "demo.state", `the node is "${found ?? "?"}" and not "${state}": ${lastError}`);
  }

  /** The inventory must be this machine's: its NIC, its memory, its disk, its firmware. */
  async #inspect(): Promise<void> {
    await this.#verb("inspect", "manageable", 600);
    const { subject, lab } = this.#parts;
    const { machine } = subject;
    const answer = await lab.cli.run(["node", "inventory", this.#name]);
    const inventory = isJsonObject(answer) ? (objectProperty(answer, "inventory") ?? answer) : {};
    const nics = objects(property(inventory, "interfaces")).map((nic) =>
      stringProperty(nic, "mac_address")?.toLowerCase(),
    );
    expect("a NIC with the MAC address", nics.includes(machine.mac), `${machine.mac} in ${nics.join(", ")}`);
    const disks = objects(property(inventory, "disks")).map((disk) => numberProperty(disk, "size"));
    expect("a disk of 4 GiB", disks.includes(4 * 2 ** 30), `${4 * 2 ** 30} in ${disks.join(", ")}`);
    const cpus = numberProperty(objectProperty(inventory, "cpu") ?? {}, "count");
    expect("the number of CPUs", cpus === machine.cpus, `${machine.cpus}, not ${cpus}`);
    const memory = numberProperty(objectProperty(inventory, "memory") ?? {}, "physical_mb");
    expect("the memory", memory === machine.memoryMb, `${machine.memoryMb}, not ${memory}`);
    const mode = stringProperty(objectProperty(inventory, "boot") ?? {}, "current_boot_mode");
    expect("the boot mode", mode === machine.firmware, `${machine.firmware}, not ${mode}`);
  }

  async #deploy(): Promise<void> {
    const { lab, subject } = this.#parts;
    const { rack, image, publicKey } = lab;
    const drive = join(rack.directory, `${this.#name}.config-drive.json`);
    writeFileSync(drive, configDrive({ hostName: this.#hostName, publicKey }), { mode: 0o600 });
    this.#consoleMark = subject.machine.consoleLength();
    const source = ["--image-source", image.path, "--image-checksum", `sha256:${image.sha256}`];
    await this.#verb("deploy", "active", 1800, [...source, "--config-drive", drive]);
  }

  /** The machine itself must say who it is: on its serial line, and over SSH with the key from the config drive. */
  async #verify(): Promise<void> {
    const { clock, patience, subject, lab } = this.#parts;
    using deadline = clock.deadline(seconds(600 * patience));
    await subject.machine.waitForConsole(new RegExp(`${this.#hostName} login:`), deadline, this.#consoleMark);
    const command = "hostname; findmnt --noheadings --output SOURCE /; cat /proc/cmdline";
    let said = "nobody answers on its addresses";
    for (;;) {
      for (const address of await this.#addresses()) {
        const outcome = await lab.rack.ssh(`root@${address}`, lab.keyFile, command);
        const [hostName = "", root = "", commandLine = ""] = outcome.stdout.split("\n");
        if (
          outcome.code === 0 &&
          hostName === this.#hostName &&
          root.startsWith("/dev/") &&
          !commandLine.includes("ipa-api-url")
        )
          return;
        said = `${address}: ${outcome.stderr.trim() || outcome.stdout.trim() || `ssh ended with ${outcome.code}`}`;
      }
      try {
        await clock.sleep(seconds(2), deadline.signal);
      } catch (cause) {
        throw new Fault("timeout", "demo.ssh", `no SSH login to ${this.#hostName}: ${said}`, { cause });
      }
    }
  }

  /** Where the machine may be: the addresses that were leased to its MAC, and those that the appliance's kernel has seen it use. */
  async #addresses(): Promise<readonly string[]> {
    const { lab, subject } = this.#parts;
    const { mac } = subject.machine;
    const answer = await lab.cli.run(["lease", "list"]);
    const leases = objects(isJsonObject(answer) ? property(answer, "leases") : (answer ?? undefined));
    const leased = leases
      .filter((lease) => stringProperty(lease, "mac") === mac)
      .flatMap((lease) => stringProperty(lease, "address") ?? []);
    const { stdout } = await lab.rack.run(["ip", "-4", "neigh", "show", "dev", PROVISIONING.interface]);
    const seen = stdout
      .split("\n")
      .filter((line) => line.includes(`lladdr ${mac}`))
      .flatMap((line) => line.split(" ")[0] ?? []);
    return [...new Set([...leased, ...seen])];
  }

  /** Back to available, and nothing of the instance may be left at the head of the disk. */
  async #undeploy(): Promise<void> {
    await this.#verb("undeploy", "available", 900);
    const head = readHead(this.#parts.subject.machine.diskPath);
    const signed = head.readUInt16LE(510) === 0xaa55 || head.toString("latin1", 512, 520) === "EFI PART";
    expect("a cleaned disk", !signed, "its partition table is still there");
    expect("power off", !this.#parts.subject.machine.powerIsOn(), "the machine is still on");
  }
}

function readHead(path: string): Buffer {
  const head = Buffer.alloc(1024);
  const file = openSync(path, "r");
  try {
    readSync(file, head, 0, head.length, 0);
  } finally {
    closeSync(file);
  }
  return head;
}

function expect(what: string, holds: boolean, detail: string): void {
  if (!holds) throw new Fault("protocol", "demo.unexpected", `expected ${what}: ${detail}`);
}

function objects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

/** Bytes of the last step that reported any, and their speed from its first report to its last. */
export function streamSummary(reports: readonly { readonly at: number; readonly progress: StreamProgress }[]): {
  readonly bytes: number | null;
  readonly mbPerSecond: number | null;
} {
  const last = reports.at(-1);
  if (last === undefined) return { bytes: null, mbPerSecond: null };
  const first = reports.find(({ progress }) => progress.step === last.progress.step);
  const elapsed = first === undefined ? 0 : (last.at - first.at) / 1000;
  const moved = last.progress.bytes - (first?.progress.bytes ?? 0);
  const mean = elapsed > 0 && moved > 0 ? moved / elapsed / 1e6 : last.progress.mbPerSecond;
  return { bytes: last.progress.bytes, mbPerSecond: Math.round(mean * 10) / 10 };
}
