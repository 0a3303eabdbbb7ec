import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import { silentLog } from "../../src/core/log.ts";
import { SystemRandom } from "../../src/core/random.ts";
import { Scope } from "../../src/core/scope.ts";
import { bytes, millis, seconds } from "../../src/core/units.ts";
import { Catalogue } from "../../src/conductor/catalogue.ts";
import { allCommands } from "../../src/conductor/commands/all-commands.ts";
import { DriverRegistry } from "../../src/conductor/driver-registry.ts";
import { NodeLocks } from "../../src/conductor/node-lock.ts";
import { OperationRunner } from "../../src/conductor/operation-runner.ts";
import { PowerControl } from "../../src/conductor/power.ts";
import { ControlServer } from "../../src/control/control-server.ts";
import { BootTrace } from "../../src/domain/boot-trace.ts";
import type { Store } from "../../src/domain/store.ts";
import type { HardwareType, Step } from "../../src/driver/interfaces.ts";
import { fakeHardware } from "../../src/driver/fake/hardware-type.ts";
import { SiteSession } from "../../src/mqtt/site-session.ts";
import { openMemoryStore } from "../../src/store/memory-store.ts";

/** A machine whose cleaning fails after a while, and whose deployment writes slowly, showing its progress. */
function stubbornHardware(clock: SystemClock): HardwareType {
  const work = { priority: 100, abortable: true, repeatable: true };
  const erase: Step = {
    ...work,
    step: "erase_devices_metadata",
    kinds: ["clean"],
    run: async ({ signal }) => {
      await clock.sleep(millis(700), signal);
      throw new Fault("refused", "disk.broken", "the disk does not take writes");
    },
  };
  const write: Step = {
    ...work,
    step: "write_image",
    kinds: ["deploy"],
    run: async ({ signal, machine }) => {
      for (let share = 0; share < 100; share += 1) {
        machine.report({ bytes: bytes(share * 10_000_000), total: bytes(1_000_000_000) });
        await clock.sleep(millis(100), signal);
      }
      return { kind: "done" };
    },
  };
  return {
    ...fakeHardware(),
    name: "stubborn-hardware",
    deploy: new Map([["fake", { validate() {}, steps: [erase, write] }]]),
  };
}

/** The whole conductor with Ironic's fake-hardware, behind its doors: what the CLI talks to, without machines. */
export class FakeRack implements AsyncDisposable {
  readonly socket: string;
  readonly store: Store;
  readonly catalogue: Catalogue;
  readonly bootTrace: BootTrace;
  readonly #scope: Scope;
  readonly #directory: string;

  private constructor(parts: {
    readonly scope: Scope;
    readonly directory: string;
    readonly store: Store;
    readonly catalogue: Catalogue;
    readonly bootTrace: BootTrace;
  }) {
    this.#scope = parts.scope;
    this.#directory = parts.directory;
    this.socket = join(parts.directory, "control.sock");
    this.store = parts.store;
    this.catalogue = parts.catalogue;
    this.bootTrace = parts.bootTrace;
  }

  static async open(options: { readonly broker?: string } = {}): Promise<FakeRack> {
    const scope = new Scope();
    const directory = await mkdtemp(join(tmpdir(), "ironrack-cli-"));
    scope.defer(async () => await rm(directory, { recursive: true, force: true }));
    const [clock, random, log] = [new SystemClock(), new SystemRandom(), silentLog];
    const store = scope.use(openMemoryStore({ clock }));
    const settings = {
      name: "test-appliance",
      automatedClean: true,
      fastTrack: false,
      fastTrackTimeout: seconds(60),
      heartbeatTimeout: seconds(60),
      powerSyncInterval: seconds(0),
      powerSyncWorkers: 1,
      lockWait: seconds(1),
      powerOffAfterDeployFailure: true,
    };
    const conductor = {
      store,
      clock,
      random,
      settings,
      log,
      drivers: new DriverRegistry([fakeHardware(), stubbornHardware(clock)]),
      locks: new NodeLocks({ clock }),
      bootTrace: new BootTrace({ clock }),
    };
    const runner = scope.use(new OperationRunner(conductor));
    const power = scope.use(new PowerControl(conductor));
    const catalogue = new Catalogue({
      commands: allCommands({ ...conductor, runner, power }, () => ({
        name: settings.name,
        version: "test",
      })),
      store,
      log,
    });
    const rack = new FakeRack({ scope, directory, store, catalogue, bootTrace: conductor.bootTrace });
    scope.use(await ControlServer.open({ path: rack.socket, catalogue, log }));
    if (options.broker !== undefined) {
      const server = { url: options.broker, clientId: "fake-rack", keepalive_s: 30, sessionExpiry_s: 600 };
      const session = scope.use(
        new SiteSession({ settings: { server, site: "s", rack: "r" }, catalogue, store, clock, random, log }),
      );
      session.start();
    }
    return rack;
  }

  /** Where the rack keeps files for a test. */
  get directory(): string {
    return this.#directory;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.close();
  }
}
