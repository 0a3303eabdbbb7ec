import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Deadline, SystemClock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import { type JsonObject, stringProperty } from "../../src/core/json.ts";
import { millis, seconds } from "../../src/core/units.ts";
import { configDrive } from "../rack/config-drive.ts";
import type { DemoImage } from "../rack/demo-files.ts";
import type { Lab } from "../rack/lab.ts";
import type { RackMachine } from "../rack/virtual-rack.ts";

export const clock = new SystemClock();

/** What the site does with one machine of the lab. */
export class Lead {
  readonly lab: Lab;
  readonly subject: RackMachine;
  readonly name: string;

  constructor(lab: Lab, subject: RackMachine, name = subject.machine.name) {
    this.lab = lab;
    this.subject = subject;
    this.name = name;
  }

  get hostName(): string {
    return `host-${this.name}`;
  }

  async enroll(
    options: { readonly mac?: string; readonly password?: string; readonly set?: readonly string[] } = {},
  ): Promise<void> {
    const { bmc, machine } = this.subject;
    const info = {
      ipmi_address: bmc.address,
      ipmi_port: bmc.port,
      ipmi_username: bmc.username,
      ipmi_password: options.password ?? bmc.password,
    };
    const pairs = Object.entries(info).flatMap(([key, value]) => ["--driver-info", `${key}=${value}`]);
    await this.lab.cli.run([
      "node",
      "create",
      "--driver",
      "ipmi",
      "--name",
      this.name,
      ...pairs,
      ...(options.set ?? []),
    ]);
    await this.lab.cli.run(["port", "create", "--node", this.name, "--address", options.mac ?? machine.mac]);
  }

  /** Gives the verb and returns without waiting for the work. */
  async begin(verb: string, options: readonly string[] = []): Promise<void> {
    await this.lab.cli.run(["node", verb, this.name, ...options]);
  }

  deployOptions(image: DemoImage = this.lab.image): readonly string[] {
    const drive = join(this.lab.rack.directory, `${this.name}.config-drive.json`);
    writeFileSync(drive, configDrive({ hostName: this.hostName, publicKey: this.lab.publicKey }), { mode: 0o600 });
    return ["--image-source", image.path, "--image-checksum", `sha256:${image.sha256}`, "--config-drive", drive];
  }

  async node(): Promise<JsonObject> {
    return await this.lab.cli.node(this.name);
  }

  async state(): Promise<string> {
    return stringProperty(await this.node(), "provision_state") ?? "";
  }

  async lastError(): Promise<string> {
    return stringProperty(await this.node(), "last_error") ?? "";
  }

  /** Until the node is in `wanted`. @throws Fault when it comes to rest elsewhere or the deadline passes */
  async reaches(wanted: string, deadline: Deadline): Promise<void> {
    for (let state = ""; state !== wanted; ) {
      await clock.sleep(millis(1000), deadline.signal).catch((cause: unknown) => {
        throw new Fault(
          "timeout",
          "e2e.state",
          `${this.name} is "${state}" and not "${wanted}" in time; ${this.where()}`,
          { cause },
        );
      });
      state = await this.state().catch(() => state);
      if (state.endsWith("failed") && state !== wanted) {
        throw new Fault(
          "conflict",
          "e2e.state",
          `${this.name} is "${state}": ${await this.lastError()}; ${this.where()}`,
        );
      }
    }
  }

  where(): string {
    return `consoles and logs are in ${this.lab.rack.directory}`;
  }

  /** The machine says on its serial line that it runs the deployed system. */
  async boots(deadline: Deadline): Promise<void> {
    await this.subject.machine.waitForConsole(new RegExp(`${this.hostName} login:`), deadline);
  }
}

/** The state of a working rack is there within this, on a busy machine under software emulation. */
export const PATIENCE = seconds(900);
