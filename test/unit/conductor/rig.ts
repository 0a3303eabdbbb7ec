import { FakeClock } from "../../../src/core/clock.ts";
import type { Json, JsonObject } from "../../../src/core/json.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { millis } from "../../../src/core/units.ts";
import { Catalogue } from "../../../src/conductor/catalogue.ts";
import { allCommands } from "../../../src/conductor/commands/all-commands.ts";
import { NodeLocks } from "../../../src/conductor/node-lock.ts";
import { OperationRunner } from "../../../src/conductor/operation-runner.ts";
import { PowerControl } from "../../../src/conductor/power.ts";
import { recover } from "../../../src/conductor/recovery.ts";
import { BootTrace } from "../../../src/domain/boot-trace.ts";
import type { CommandAnswer } from "../../../src/domain/command-record.ts";
import type { Node } from "../../../src/domain/node.ts";
import type { Store } from "../../../src/domain/store.ts";
import { fakeHardware } from "../../../src/driver/fake/hardware-type.ts";
import type { HardwareType, PowerInterface, Step } from "../../../src/driver/interfaces.ts";
import { DriverRegistry } from "../../../src/conductor/driver-registry.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";

/** A hardware type whose deploy, clean and inspect steps the test writes; power and the rest are fake-hardware's. */
export function scripted(steps: readonly Step[], power?: Partial<PowerInterface>): HardwareType {
  const fake = fakeHardware();
  const fakePower = fake.power.get("fake");
  if (fakePower === undefined) throw new Error("fake-hardware has no power interface");
  return {
    ...fake,
    name: "scripted",
    power: new Map([["scripted", { ...fakePower, ...power }]]),
    deploy: new Map([["scripted", { validate() {}, steps: steps.filter((step) => !step.kinds.includes("inspect")) }]]),
    inspect: new Map([["scripted", { validate() {}, steps: steps.filter((step) => step.kinds.includes("inspect")) }]]),
  };
}

export function step(name: string, kind: Step["kinds"][number], run: Step["run"], more: Partial<Step> = {}): Step {
  return { step: name, kinds: [kind], priority: 100, abortable: true, repeatable: true, run, ...more };
}

/** A conductor on a store of its own, or on the store of an earlier one: a restart. */
export function conductor(
  options: {
    readonly store?: Store;
    readonly clock?: FakeClock;
    readonly types?: readonly HardwareType[];
    readonly fastTrack?: boolean;
  } = {},
) {
  const clock = options.clock ?? new FakeClock();
  const store = options.store ?? openMemoryStore({ clock });
  const settings = {
    name: "rack-1",
    automatedClean: true,
    fastTrack: options.fastTrack ?? false,
    fastTrackTimeout: millis(300_000),
    heartbeatTimeout: millis(60_000),
    powerSyncInterval: millis(120_000),
    powerSyncWorkers: 4,
    lockWait: millis(3_000),
    powerOffAfterDeployFailure: true,
  };
  const random = new SeededRandom(store.history.lastSeq + 1);
  const base = {
    store,
    clock,
    random,
    settings,
    log: silentLog,
    drivers: new DriverRegistry([fakeHardware(), ...(options.types ?? [])]),
    locks: new NodeLocks({ clock }),
    bootTrace: new BootTrace({ clock }),
  };
  const runner = new OperationRunner(base);
  const power = new PowerControl(base);
  const catalogue = new Catalogue({
    commands: allCommands({ ...base, runner, power }, () => ({})),
    store,
    log: silentLog,
  });
  const signal = new AbortController().signal;
  const execute = (method: string, params: JsonObject, id?: string): Promise<CommandAnswer> =>
    catalogue.execute({ method, params, role: "operator", ...(id === undefined ? {} : { id }) }, { signal });
  return {
    ...base,
    runner,
    power,
    catalogue,
    execute,
    recover: () => recover({ ...base, runner }),
    /** The result, or the fault as an exception. */
    call: async (method: string, params: JsonObject): Promise<Json> => {
      const answer = await execute(method, params);
      if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`);
      return answer.result;
    },
    node: (name: string): Node => {
      const node = store.nodes.byName(name);
      if (node === undefined) throw new Error(`no node ${name}`);
      return node;
    },
    settle: () => clock.advance(0),
  };
}
