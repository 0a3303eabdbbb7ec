import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { Scope } from "../../src/core/scope.ts";
import { Bmc } from "./bmc.ts";
import { type Account, Broker } from "./broker.ts";
import type { Child, ChildOptions, Outcome } from "./child.ts";
import { Enclosure } from "./enclosure.ts";
import { Machine, type MachineSpec } from "./machine.ts";
import { bmcAddress, layoutCommands } from "./network.ts";
import { makeRunDirectory, removeLeftovers } from "./run-directory.ts";
import { Site } from "./site.ts";
import { Wan } from "./wan.ts";

export interface RackOptions {
  readonly machines: readonly MachineSpec[];
  /** Where disks, consoles and logs go; it stays. Without it they die with the rack. */
  readonly directory?: string;
  /** Hears what happens to the machines, a line at a time. */
  readonly log?: (line: string) => void;
  readonly broker?: { readonly persistence?: boolean; readonly accounts?: readonly Account[] };
}

/** A machine with the BMC that controls it. */
export interface RackMachine {
  readonly machine: Machine;
  readonly bmc: Bmc;
}

export const RACK_ACCOUNT: Account = { username: "rack", password: "rack-secret" };
export const SITE_ACCOUNT: Account = { username: "site", password: "site-secret" };

/**
 * A rack with nothing in it that is not real: machines, BMCs, cables, and the site's broker at the far end of a WAN.
 * All of it ends with this object, and with this process however that ends.
 */
export class VirtualRack implements AsyncDisposable {
  readonly directory: string;
  readonly machines: readonly RackMachine[];
  readonly broker: Broker;
  readonly wan: Wan;
  readonly site: Site;
  readonly #enclosure: Enclosure;
  readonly #scope: Scope;

  constructor(parts: {
    readonly directory: string;
    readonly machines: readonly RackMachine[];
    readonly broker: Broker;
    readonly enclosure: Enclosure;
    readonly scope: Scope;
  }) {
    this.directory = parts.directory;
    this.machines = parts.machines;
    this.broker = parts.broker;
    this.#enclosure = parts.enclosure;
    this.#scope = parts.scope;
    this.wan = new Wan(parts.enclosure);
    this.site = new Site(parts.enclosure);
  }

  /** Process 1 of the rack, for `nsenter --target PID --all` by hand. */
  get pid(): number {
    return this.#enclosure.keeperPid;
  }

  spawn(argv: readonly string[], options?: ChildOptions): Child {
    return this.#enclosure.spawn("rack", argv, options);
  }

  /** Runs beside the appliance to the end. @throws Fault refused unless the exit status is 0 */
  async run(argv: readonly string[], options?: ChildOptions): Promise<Outcome> {
    return await this.#enclosure.run("rack", argv, options);
  }

  /** Runs a command on a machine by OpenSSH; `address` may name the user (`root@…`). Answers without judging the exit status. */
  async ssh(address: string, keyFile: string, command: string, timeoutSeconds = 60): Promise<Outcome> {
    const options = [
      ["StrictHostKeyChecking", "no"],
      ["UserKnownHostsFile", "/dev/null"],
      ["LogLevel", "ERROR"],
      ["BatchMode", "yes"],
      ["IdentitiesOnly", "yes"],
      ["ConnectTimeout", "20"],
    ].map(([name, value]) => `-o${name}=${value}`);
    return await this.spawn([
      "timeout",
      String(timeoutSeconds),
      "ssh",
      "-F",
      "none",
      "-i",
      keyFile,
      ...options,
      address,
      command,
    ]).ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.close();
  }
}

/** Builds the rack: all machines off, all BMCs and the broker up, the WAN whole. Needs root. */
export async function openRack(options: RackOptions): Promise<VirtualRack> {
  const log = options.log ?? (() => undefined);
  for (const name of removeLeftovers()) log(`removed ${name}, left by a rack that was killed`);
  const scope = new Scope();
  try {
    const socketDirectory = makeRunDirectory();
    scope.defer(() => rmSync(socketDirectory, { recursive: true, force: true }));
    const directory = resolve(options.directory ?? join(socketDirectory, "files"));
    mkdirSync(directory, { recursive: true });
    const enclosure = scope.use(await Enclosure.open(layoutCommands(options.machines.length), socketDirectory));
    const machines: RackMachine[] = [];
    for (const [index, spec] of options.machines.entries()) {
      const machine = scope.use(new Machine({ spec, index, enclosure, directory, socketDirectory, log }));
      const account = spec.bmc ?? { username: "admin", password: `secret-of-${spec.name}`.slice(0, 16) };
      const bmc = scope.use(
        new Bmc({ machine, enclosure, address: bmcAddress(index), ...account, directory, socketDirectory, log }),
      );
      machines.push({ machine, bmc });
    }
    const broker = scope.use(
      new Broker({
        enclosure,
        directory,
        accounts: options.broker?.accounts ?? [RACK_ACCOUNT, SITE_ACCOUNT],
        persistence: options.broker?.persistence ?? true,
      }),
    );
    await Promise.all([broker.start(), ...machines.map(async ({ bmc }) => await bmc.start())]);
    return new VirtualRack({ directory, machines, broker, enclosure, scope });
  } catch (error) {
    await scope.close();
    throw error;
  }
}
