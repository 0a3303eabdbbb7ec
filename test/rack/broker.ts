import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import { millis } from "../../src/core/units.ts";
import type { Child } from "./child.ts";
import type { Enclosure } from "./enclosure.ts";
import { WAN } from "./network.ts";

export interface Account {
  readonly username: string;
  readonly password: string;
}

export interface BrokerOptions {
  readonly enclosure: Enclosure;
  readonly directory: string;
  readonly accounts: readonly Account[];
  /** Whether sessions, queued and retained messages outlive a restart of the broker. */
  readonly persistence: boolean;
}

const clock = new SystemClock();

/** The site's MQTT 5 broker: mosquitto with password authentication. */
export class Broker implements AsyncDisposable {
  readonly host = WAN.siteAddress;
  readonly port = 1883;
  readonly url = `mqtt://${WAN.siteAddress}:1883`;
  readonly logFile: string;
  readonly #options: BrokerOptions;
  #process: Child | undefined;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.logFile = join(options.directory, "mosquitto.log");
  }

  /** Starts it and returns when it accepts connections. Does nothing when it runs. */
  async start(): Promise<void> {
    if (this.#process?.isRunning === true) return;
    const { directory, enclosure, accounts, persistence } = this.#options;
    const data = join(directory, "mosquitto");
    mkdirSync(data, { recursive: true, mode: 0o700 });
    const passwords = join(data, "passwords");
    rmSync(passwords, { force: true });
    writeFileSync(passwords, "", { mode: 0o600 });
    for (const { username, password } of accounts) {
      await enclosure.run("site", ["mosquitto_passwd", "-b", passwords, username, password]);
    }
    const config = join(data, "mosquitto.conf");
    writeFileSync(config, configuration(data, passwords, persistence));
    const said = this.log().length;
    this.#process = enclosure.spawn("site", ["mosquitto", "-c", config], { logFile: this.logFile });
    const deadline = clock.now() + 20_000;
    while (!/mosquitto version \S+ running/.test(this.log().slice(said))) {
      if (!this.#process.isRunning || clock.now() > deadline) {
        throw new Fault("unreachable", "rack.broker", `mosquitto does not run: ${this.log().slice(said).trim()}`);
      }
      await clock.sleep(millis(20));
    }
  }

  /** Ends it as an orderly shutdown does: clients see the connection close. */
  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }

  /** Ends it as a power cut does: nothing is saved that was not saved before. */
  async kill9(): Promise<void> {
    await this.#process?.kill("SIGKILL");
    await this.#process?.ended;
    this.#process = undefined;
  }

  log(): string {
    try {
      return readFileSync(this.logFile, "utf8");
    } catch {
      return "";
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function configuration(data: string, passwords: string, persistence: boolean): string {
  return [
    `listener 1883 0.0.0.0`,
    "user root",
    "allow_anonymous false",
    `password_file ${passwords}`,
    `persistence ${persistence}`,
    `persistence_location ${data}/`,
    "autosave_interval 1",
    "log_dest stderr",
    "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    "max_queued_messages 0",
    "",
  ].join("\n");
}
