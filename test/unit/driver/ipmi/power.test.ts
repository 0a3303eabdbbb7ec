import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../../../src/core/clock.ts";
import { Fault, isFault } from "../../../../src/core/fault.ts";
import { silentLog } from "../../../../src/core/log.ts";
import type { PowerState, PowerTarget } from "../../../../src/domain/power-state.ts";
import { IpmiPower } from "../../../../src/driver/ipmi/power.ts";
import { taskWith } from "./node-of.ts";
import { refusal, ScriptedBmc, silent, unconfirmed } from "./scripted-bmc.ts";

const info = { ipmi_address: "10.0.0.9" };

interface Rig {
  readonly clock: FakeClock;
  readonly bmc: ScriptedBmc;
  readonly power: IpmiPower;
  readonly controller: AbortController;
  /** Runs to the end in the clock's time; seconds that it took. */
  readonly set: (
    target: PowerTarget,
    task?: ReturnType<typeof taskWith>,
  ) => Promise<{ readonly state: PowerState; readonly seconds: number }>;
}

function rig(on: boolean): Rig {
  const clock = new FakeClock();
  const bmc = new ScriptedBmc(clock);
  bmc.powerOn = on;
  const power = new IpmiPower({ bmcs: bmc, clock });
  const controller = new AbortController();
  return {
    clock,
    bmc,
    power,
    controller,
    async set(target, task = taskWith(info)) {
      let over = false;
      const work = power
        .setPowerState(task, target, { signal: controller.signal, log: silentLog })
        .finally(() => (over = true));
      work.catch(() => undefined);
      const begun = clock.now();
      while (!over && clock.now() - begun < 3_600_000) await clock.advance(50);
      assert.ok(over, "it ends");
      return { state: await work, seconds: (clock.now() - begun) / 1000 };
    },
  };
}

function codeIs(code: string, kind?: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isFault(error), String(error));
    assert.equal(error.code, code);
    if (kind !== undefined) assert.equal(error.kind, kind);
    return true;
  };
}

test("on and off send one request and return when the state has been read back", async () => {
  const { bmc, set } = rig(false);
  bmc.delay = 4000;
  const on = await set("power on");
  assert.equal(on.state, "power on");
  assert.ok(on.seconds >= 4 && on.seconds < 9);
  assert.equal((await set("power off")).state, "power off");
  assert.deepEqual(bmc.actions, ["power-up", "power-down"]);
});

test("a machine that is in the state already gets no request", async () => {
  for (const [on, target] of [
    [true, "power on"],
    [false, "power off"],
    [false, "soft power off"],
  ] as const) {
    const { bmc, set } = rig(on);
    await set(target);
    assert.deepEqual(bmc.actions, []);
  }
});

test("rebooting is off, seen off, a second's pause, on, seen on; never a cycle", async () => {
  const { bmc, set } = rig(true);
  assert.equal((await set("rebooting")).state, "power on");
  assert.deepEqual(bmc.actions, ["power-down", "power-up"]);
});

test("rebooting a machine that is off turns it on", async () => {
  const { bmc, set } = rig(false);
  await set("rebooting");
  assert.deepEqual(bmc.actions, ["power-up"]);
});

test("soft off asks the operating system and waits up to ten minutes", async () => {
  const { bmc, set } = rig(true);
  bmc.delay = 300_000;
  assert.equal((await set("soft power off")).state, "power off");
  assert.deepEqual(bmc.actions, ["soft-shutdown"]);
  const deaf = rig(true);
  deaf.bmc.onAction = () => undefined;
  deaf.bmc.delay = 10_000_000;
  await assert.rejects(deaf.set("soft rebooting"), codeIs("power.not-reached", "timeout"));
  assert.deepEqual(deaf.bmc.actions, ["soft-shutdown"], "an operating system that does not obey is not cut off");
  assert.equal(deaf.clock.now(), 600_050);
});

test("a request that was carried out though its answer was lost is not sent again", async () => {
  const { bmc, set } = rig(false);
  bmc.onAction = () => ({ fault: unconfirmed(), carriedOut: true });
  bmc.delay = 4000;
  assert.equal((await set("power on")).state, "power on");
  assert.deepEqual(bmc.actions, ["power-up"]);
});

test("a request that was lost is sent again once the state was read and is as before", async () => {
  const { bmc, set } = rig(false);
  bmc.onAction = (count) => (count === 1 ? { fault: unconfirmed(), carriedOut: false } : undefined);
  const { seconds } = await set("power on");
  assert.deepEqual(bmc.actions, ["power-up", "power-up"]);
  assert.ok(seconds > 5 && seconds < 12, `${seconds} s`);
});

test("while the BMC is silent after an unconfirmed request, nothing is sent blindly", async () => {
  const { bmc, clock, set } = rig(true);
  bmc.onAction = () => ({ fault: unconfirmed(), carriedOut: true });
  bmc.onRead = () => (bmc.actions.length > 0 && clock.now() < 40_000 ? silent() : undefined);
  assert.equal((await set("power off")).state, "power off");
  assert.deepEqual(bmc.actions, ["power-down"]);
});

test("a BMC that stays silent until the deadline is a timeout that says why", async () => {
  const { bmc, set } = rig(true);
  bmc.onRead = () => (bmc.actions.length > 0 ? silent() : undefined);
  await assert.rejects(set("power off"), (error) => {
    assert.ok(isFault(error) && error.code === "power.not-reached" && /did not answer/.test(error.message));
    return true;
  });
});

test("a machine that does not change within a minute is a timeout, after one confirmed request", async () => {
  const { bmc, clock, set } = rig(false);
  bmc.delay = 10_000_000;
  await assert.rejects(set("power on"), codeIs("power.not-reached", "timeout"));
  assert.deepEqual(bmc.actions, ["power-up"]);
  assert.ok(clock.now() < 62_000);
});

test("a refusal ends it at once: privilege, credentials", async () => {
  for (const fault of [refusal(0xd4), new Fault("refused", "ipmi.rakp.0f", "the password is wrong")]) {
    const { bmc, set } = rig(false);
    bmc.onAction = () => ({ fault, carriedOut: false });
    await assert.rejects(set("power on"), codeIs(fault.code, "refused"));
    assert.equal(bmc.actions.length, 1);
  }
});

test("a refusal that comes while the state is read back is not waited out", async () => {
  const { bmc, set } = rig(false);
  bmc.delay = 10_000_000;
  bmc.onRead = (count) => (count > 3 ? refusal(0xd4) : undefined);
  await assert.rejects(set("power on"), codeIs("ipmi.completion.d4"));
});

test("D5h, not in the present state, is read back like a lost answer", async () => {
  const { bmc, set } = rig(false);
  bmc.onAction = () => ({ fault: refusal(0xd5), carriedOut: true });
  assert.equal((await set("power on")).state, "power on");
});

test("a BMC that cannot be read at first is not asked to change anything", async () => {
  const { bmc, set } = rig(false);
  bmc.onRead = () => silent();
  await assert.rejects(set("power on"), codeIs("ipmi.no-answer"));
  assert.deepEqual(bmc.actions, []);
});

test("a cancelled change ends with the reason and leaves no timer", async () => {
  const { bmc, clock, power, controller } = rig(false);
  bmc.delay = 10_000_000;
  const work = power.setPowerState(taskWith(info), "power on", { signal: controller.signal, log: silentLog });
  const ended = assert.rejects(work, codeIs("test"));
  await clock.advance(3000);
  controller.abort(new Fault("cancelled", "test", "enough"));
  await clock.advance(10);
  await ended;
  assert.equal(clock.pending, 1, "only the machine's own change of power");
});

test("with ipmi_force_boot_device the device of the node's boot target is set, once, before each power-on", async () => {
  for (const [bootTarget, device] of [
    ["ramdisk", "pxe"],
    ["disk", "disk"],
    ["network", "pxe"],
  ] as const) {
    const { bmc, set } = rig(true);
    await set("rebooting", taskWith({ ...info, ipmi_force_boot_device: true }, { bootTarget, bootMode: "uefi" }));
    const flags = bmc.options.filter((option) => option.parameter === "bootFlags");
    assert.equal(flags.length, 1);
    assert.equal(bmc.flags.device, device);
    assert.ok(bmc.flags.efi && !bmc.flags.persistent && bmc.flags.valid);
  }
  const { bmc, set } = rig(false);
  await set("power on", taskWith({ ...info, ipmi_force_boot_device: true }, { bootTarget: "none" }));
  assert.deepEqual(bmc.options, []);
});

test("driver_info that is wrong touches no BMC", async () => {
  const { bmc, power, set } = rig(false);
  assert.throws(() => power.validate(taskWith({})), codeIs("invalid"));
  await assert.rejects(set("power on", taskWith({ ipmi_address: "a", ipmi_port: 0 })), codeIs("invalid"));
  assert.equal(bmc.reads, 0);
});
