import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../../src/core/fault.ts";
import type { PowerState } from "../../../src/domain/power-state.ts";
import { conductor, scripted } from "./rig.ts";

/** A manageable node whose BMC answers what the test says. */
async function rack(bmc: { read: () => Promise<PowerState> }) {
  const rig = conductor({ types: [scripted([], { getPowerState: () => bmc.read() })] });
  await rig.call("node.create", { driver: "scripted", name: "n1" });
  await rig.call("node.set_provision_state", { node: "n1", target: "manage" });
  for (let turn = 0; turn < 20 && rig.node("n1").provisionState !== "manageable"; turn += 1) await rig.settle();
  return rig;
}

test("a power state that changed by itself is stored and told, not fought", async () => {
  const bmc = { read: (): Promise<PowerState> => Promise.resolve("power off") };
  const rig = await rack(bmc);
  bmc.read = () => Promise.resolve("power on");
  await rig.power.syncAll();
  assert.equal(rig.node("n1").powerState, "power on");
  const events = await rig.store.history.read(0, 100);
  assert.deepEqual(events.at(-1)?.data, { from: "power off", to: "power on", reason: "read from the BMC" });
});

test("a BMC that stays silent puts its node into maintenance after three readings, and its answer takes it out again", async () => {
  const bmc = { read: (): Promise<PowerState> => Promise.resolve("power off") };
  const rig = await rack(bmc);
  bmc.read = () => Promise.reject(new Fault("timeout", "ipmi.timeout", "no answer"));
  for (let reading = 0; reading < 3; reading += 1) await rig.power.syncAll();
  assert.equal(rig.node("n1").maintenance, false);
  await rig.power.syncAll();
  assert.equal(rig.node("n1").fault, "power failure");
  bmc.read = () => Promise.resolve("power on");
  await rig.power.syncAll();
  assert.deepEqual(
    [rig.node("n1").maintenance, rig.node("n1").fault, rig.node("n1").powerState],
    [false, null, "power on"],
  );
});

test("a BMC that refuses the login is left alone for a quarter of an hour", async () => {
  let readings = 0;
  const bmc = { read: (): Promise<PowerState> => Promise.resolve("power off") };
  const rig = await rack(bmc);
  bmc.read = () => {
    readings += 1;
    return Promise.reject(new Fault("refused", "ipmi.rakp.0f", "the BMC refused the password"));
  };
  for (let turn = 0; turn < 5; turn += 1) {
    await rig.power.syncAll();
    await rig.clock.advance(120_000);
  }
  assert.equal(readings, 1);
  assert.equal(rig.node("n1").fault, "power failure");
  await rig.clock.advance(600_000);
  await rig.power.syncAll();
  assert.equal(readings, 2);
});

test("a failed power change leaves the reason and no target", async () => {
  const rig = conductor({
    types: [
      scripted([], { setPowerState: () => Promise.reject(new Fault("timeout", "power.not-reached", "still on")) }),
    ],
  });
  await rig.call("node.create", { driver: "scripted", name: "n1" });
  await rig.call("node.set_power_state", { node: "n1", target: "power off" });
  await rig.settle();
  assert.equal(rig.node("n1").targetPowerState, null);
  assert.match(rig.node("n1").lastError ?? "", /Failed to change power state to 'power off': still on/);
});
