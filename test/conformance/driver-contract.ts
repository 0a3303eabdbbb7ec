import assert from "node:assert/strict";
import { test } from "node:test";
import { SystemClock } from "../../src/core/clock.ts";
import { Fault, isFault, type FaultKind } from "../../src/core/fault.ts";
import { silentLog } from "../../src/core/log.ts";
import { millis } from "../../src/core/units.ts";
import type { BootDevice } from "../../src/domain/boot-device.ts";
import { powerTargets, type PowerTarget } from "../../src/domain/power-state.ts";
import type { ManagementInterface, PowerInterface, Task } from "../../src/driver/interfaces.ts";

/** A driver with a machine whose state can be seen and changed past the driver. */
export interface DriverRig extends AsyncDisposable {
  readonly power: PowerInterface;
  readonly management: ManagementInterface;
  readonly task: Task;
  /** driver_info that is wrong in one field. */
  readonly invalidTask: { readonly task: Task; readonly field: string };
  /** A login that the machine's controller refuses; absent where the driver has no credentials. */
  readonly refusedTask?: Task;
  /** An address at which nobody answers; absent where the driver has no network. */
  readonly unreachableTask?: Task;
  readonly machineIsOn: () => boolean;
  readonly setMachine: (on: boolean) => void;
  /** How often the machine was told to change its power. */
  readonly powerChanges: () => number;
  /** The device that the machine will boot from, as the machine itself says; undefined where it does not say. */
  readonly bootDevice?: () => BootDevice | undefined;
  /** Devices that the simulator's controller refuses, though the driver supports them. */
  readonly refusedBootDevices?: readonly BootDevice[];
  /** Whether getBootDevice answers what was set; some simulators forget. */
  readonly remembersBootDevice: boolean;
}

const clock = new SystemClock();

/** The rules of PowerInterface and ManagementInterface (src/driver/interfaces.ts), for any driver and its simulator. */
export function driverContract(name: string, start: () => Promise<DriverRig>): void {
  const options = { signal: new AbortController().signal, log: silentLog };

  function rule(title: string, body: (rig: DriverRig) => Promise<void>): void {
    test(`${name}: ${title}`, { timeout: 120_000 }, async () => {
      await using rig = await start();
      await body(rig);
    });
  }

  async function faultOf(work: Promise<unknown>): Promise<Fault> {
    try {
      await work;
    } catch (error) {
      assert.ok(isFault(error), `throws a Fault, not ${String(error)}`);
      return error;
    }
    return assert.fail("it must fail");
  }

  rule("the power state is the machine's, also after it changed by itself", async ({ power, task, setMachine }) => {
    for (const on of [false, true, false]) {
      setMachine(on);
      assert.equal(await power.getPowerState(task, options), on ? "power on" : "power off");
    }
  });

  rule("each supported target ends in its state, and the machine is in it when the call returns", async (rig) => {
    for (const target of rig.power.supported) {
      for (const on of [false, true]) {
        rig.setMachine(on);
        assert.equal(await rig.power.setPowerState(rig.task, target, options), powerTargets[target]);
        assert.equal(rig.machineIsOn(), powerTargets[target] === "power on", `${target} from ${on ? "on" : "off"}`);
      }
    }
  });

  rule("power on and off are supported and idempotent: a machine in the state is left alone", async (rig) => {
    for (const [target, on] of [
      ["power on", true],
      ["power off", false],
    ] as const) {
      assert.ok(rig.power.supported.includes(target));
      rig.setMachine(on);
      const before = rig.powerChanges();
      assert.equal(await rig.power.setPowerState(rig.task, target, options), target);
      assert.equal(rig.powerChanges(), before);
    }
  });

  rule("rebooting turns a machine off and on, and one that is off only on", async (rig) => {
    if (!rig.power.supported.includes("rebooting")) return;
    for (const [on, changes] of [
      [true, 2],
      [false, 1],
    ] as const) {
      rig.setMachine(on);
      const before = rig.powerChanges();
      await rig.power.setPowerState(rig.task, "rebooting", options);
      assert.equal(rig.powerChanges() - before, changes);
    }
  });

  rule(
    "validate names the wrong field and touches no network",
    async ({ power, management, invalidTask, unreachableTask }) => {
      for (const validate of [() => power.validate(invalidTask.task), () => management.validate(invalidTask.task)]) {
        assert.throws(
          validate,
          (error) => isFault(error) && error.kind === "invalid" && error.detail["field"] === invalidTask.field,
        );
      }
      const begun = clock.now();
      if (unreachableTask !== undefined) power.validate(unreachableTask);
      assert.ok(clock.now() - begun < 50);
      await Promise.resolve();
    },
  );

  rule("wrong driver_info fails every call with `invalid` and changes nothing", async (rig) => {
    const { task } = rig.invalidTask;
    const before = rig.powerChanges();
    for (const work of [
      rig.power.getPowerState(task, options),
      rig.power.setPowerState(task, "power on", options),
      rig.management.setBootDevice(task, { device: "pxe", persistent: false }, null, options),
      rig.management.getBootDevice(task, options),
    ]) {
      assert.equal((await faultOf(work)).kind, "invalid");
    }
    assert.equal(rig.powerChanges(), before);
  });

  rule(
    "refused credentials are `refused`, with a code, a sentence and without the secret; nothing is changed",
    async (rig) => {
      const { refusedTask } = rig;
      if (refusedTask === undefined) return;
      rig.setMachine(false);
      for (const work of [
        rig.power.getPowerState(refusedTask, options),
        rig.power.setPowerState(refusedTask, "power on", options),
        rig.management.setBootDevice(refusedTask, { device: "pxe", persistent: false }, null, options),
      ]) {
        const fault = await faultOf(work);
        assert.equal(fault.kind, "refused");
        assert.notEqual(fault.code, "");
        assert.ok(fault.message.length > 20);
        for (const [key, value] of Object.entries(refusedTask.node.driverInfo)) {
          if (/password|key/.test(key)) assert.ok(!fault.message.includes(JSON.stringify(value).replaceAll(`"`, "")));
        }
      }
      assert.equal(rig.machineIsOn(), false);
    },
  );

  rule("an address at which nobody answers is `unreachable` or `timeout` within half a minute", async (rig) => {
    const { unreachableTask } = rig;
    if (unreachableTask === undefined) return;
    const begun = clock.now();
    const fault = await faultOf(rig.power.getPowerState(unreachableTask, options));
    assert.ok((["unreachable", "timeout"] satisfies FaultKind[] as string[]).includes(fault.kind), fault.kind);
    assert.ok(clock.now() - begun < 30_000);
  });

  rule("an aborted signal ends each call with its reason, before anything is changed", async (rig) => {
    rig.setMachine(false);
    const controller = new AbortController();
    controller.abort(new Fault("cancelled", "contract.enough", "enough"));
    const aborted = { ...options, signal: controller.signal };
    for (const work of [
      rig.power.getPowerState(rig.task, aborted),
      ...rig.power.supported.map((target: PowerTarget) => rig.power.setPowerState(rig.task, target, aborted)),
      rig.management.setBootDevice(rig.task, { device: "pxe", persistent: false }, null, aborted),
    ]) {
      assert.equal((await faultOf(work)).kind, "cancelled");
    }
    assert.equal(rig.powerChanges(), 0);
    assert.equal(rig.machineIsOn(), false);
  });

  rule("a call that is aborted on its way ends soon, and the next one is served", async (rig) => {
    rig.setMachine(false);
    const controller = new AbortController();
    const work = rig.power.setPowerState(rig.task, "power on", { ...options, signal: controller.signal });
    work.catch(() => undefined);
    await clock.sleep(millis(3));
    controller.abort(new Fault("cancelled", "contract.enough", "enough"));
    const begun = clock.now();
    await work.catch((error: unknown) => assert.ok(isFault(error) && error.kind === "cancelled", String(error)));
    assert.ok(clock.now() - begun < 2000);
    assert.equal(await rig.power.setPowerState(rig.task, "power on", options), "power on");
  });

  rule("readings may come at the same time", async ({ power, task, setMachine }) => {
    setMachine(true);
    const states = await Promise.all(Array.from({ length: 20 }, () => power.getPowerState(task, options)));
    assert.deepEqual(new Set(states), new Set(["power on"]));
  });

  rule("each supported boot device is taken, once and for ever, in both boot modes, twice", async (rig) => {
    const { management, task } = rig;
    assert.ok(management.supportedBootDevices.includes("pxe") && management.supportedBootDevices.includes("disk"));
    const refused = rig.refusedBootDevices ?? [];
    for (const device of refused) {
      assert.equal(
        (await faultOf(management.setBootDevice(task, { device, persistent: false }, null, options))).kind,
        "refused",
      );
    }
    for (const device of management.supportedBootDevices.filter((one) => !refused.includes(one))) {
      for (const persistent of [false, true]) {
        for (const bootMode of ["bios", "uefi", null] as const) {
          await management.setBootDevice(task, { device, persistent }, bootMode, options);
          await management.setBootDevice(task, { device, persistent }, bootMode, options);
          const seen = rig.bootDevice?.();
          if (seen !== undefined) assert.equal(seen, device);
          const read = await management.getBootDevice(task, options);
          if (rig.remembersBootDevice) assert.deepEqual(read, { device, persistent });
        }
      }
    }
  });

  rule("a boot device that is not supported is `unsupported`", async ({ management, task }) => {
    const all: readonly BootDevice[] = ["pxe", "disk", "cdrom", "bios", "safe", "wanboot", "floppy"];
    for (const device of all.filter((one) => !management.supportedBootDevices.includes(one))) {
      const fault = await faultOf(management.setBootDevice(task, { device, persistent: false }, null, options));
      assert.equal(fault.kind, "unsupported");
    }
  });

  rule("setting the boot device leaves the power alone", async (rig) => {
    for (const on of [true, false]) {
      rig.setMachine(on);
      const before = rig.powerChanges();
      await rig.management.setBootDevice(rig.task, { device: "pxe", persistent: false }, "bios", options);
      assert.equal(rig.machineIsOn(), on);
      assert.equal(rig.powerChanges(), before);
    }
  });
}
