import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMacAddress } from "../../../src/core/brand.ts";
import { Fault } from "../../../src/core/fault.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { millis } from "../../../src/core/units.ts";
import type { StepContext } from "../../../src/driver/interfaces.ts";
import { conductor, scripted, step } from "./rig.ts";

const waitForAgent = () => Promise.resolve({ kind: "wait", for: "heartbeat", timeout: millis(1800_000) } as const);
const done = () => Promise.resolve({ kind: "done" } as const);

const MAC = parseMacAddress("52:54:00:00:00:01");
type Rig = ReturnType<typeof conductor>;

async function settleTo(rig: ReturnType<typeof conductor>, name: string, state: string): Promise<void> {
  for (let turn = 0; turn < 50 && rig.node(name).provisionState !== state; turn += 1) await rig.settle();
  assert.equal(rig.node(name).provisionState, state, rig.node(name).lastError ?? undefined);
}

/** Through the verbs to `available`. */
async function makeAvailable(rig: ReturnType<typeof conductor>, driver = "fake-hardware"): Promise<void> {
  await rig.call("node.create", { driver, name: "n1", ports: [{ address: "52:54:00:00:00:01" }] });
  for (const [target, state] of [
    ["manage", "manageable"],
    ["provide", "available"],
  ] as const) {
    await rig.call("node.set_provision_state", { node: "n1", target });
    await settleTo(rig, "n1", state);
  }
}

async function reportAgent(rig: ReturnType<typeof conductor>): Promise<string> {
  const { config } = (await rig.call("agent.lookup", { addresses: ["52:54:00:00:00:01"] })) as { config: JsonObject };
  const token = config["agent_token"] as string;
  await rig.call("agent.heartbeat", {
    node: rig.node("n1").uuid,
    callback_url: "https://10.0.0.9:9999",
    agent_token: token,
  });
  return token;
}

test("takes a node from enroll through active and back to available", async () => {
  const rig = conductor();
  await makeAvailable(rig);
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "active");
  assert.equal(rig.node("n1").powerState, "power on");
  await rig.call("node.set_provision_state", { node: "n1", target: "deleted" });
  await settleTo(rig, "n1", "available");
  assert.equal(rig.node("n1").powerState, "power off");
  assert.deepEqual(rig.node("n1").instanceInfo, {});
  assert.equal(rig.node("n1").operation, null);
});

test("a verb that the state does not allow is a conflict that names both, and changes nothing", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1" });
  const answer = await rig.execute("node.set_provision_state", { node: "n1", target: "active" });
  assert.equal(answer.ok, false);
  if (!answer.ok) {
    assert.equal(answer.kind, "conflict");
    assert.match(answer.message, /"enroll".*"deploy"/);
  }
  assert.equal(rig.node("n1").provisionState, "enroll");
});

test("a BMC that refuses the password leaves the node in enroll with the reason", async () => {
  const refuse = () => Promise.reject(new Fault("refused", "ipmi.rakp.password", "the BMC refused the password"));
  const rig = conductor({ types: [scripted([], { getPowerState: refuse })] });
  await rig.call("node.create", { driver: "scripted", name: "n1" });
  await rig.call("node.set_provision_state", { node: "n1", target: "manage" });
  await settleTo(rig, "n1", "enroll");
  assert.match(rig.node("n1").lastError ?? "", /Failed to get power state for node: the BMC refused the password/);
});

test("a waiting node goes on when its agent reports, and the agent's token is given out once", async () => {
  const rig = conductor({
    types: [scripted([step("deploy", "deploy", waitForAgent), step("write_image", "deploy", done, { priority: 80 })])],
  });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "wait call-back");
  await reportAgent(rig);
  await settleTo(rig, "n1", "active");
});

test("an agent with another token is refused and resumes nothing", async () => {
  const rig = conductor({ types: [scripted([step("deploy", "deploy", waitForAgent)])] });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "wait call-back");
  await rig.call("agent.lookup", { addresses: ["52:54:00:00:00:01"] });
  const answer = await rig.execute("agent.heartbeat", {
    node: rig.node("n1").uuid,
    callback_url: "https://10.0.0.9:9999",
    agent_token: "x".repeat(43),
  });
  assert.equal(answer.ok, false);
  await rig.settle();
  assert.equal(rig.node("n1").provisionState, "wait call-back");
  const again = (await rig.call("agent.lookup", { addresses: ["52:54:00:00:00:01"] })) as { config: JsonObject };
  assert.equal(again.config["agent_token"], "******");
});

test("a ramdisk that never reports fails the node at the deadline, powered off, with what to look at", async () => {
  const rig = conductor({ types: [scripted([step("deploy", "deploy", waitForAgent)])] });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "wait call-back");
  await rig.clock.advance(1_799_000);
  assert.equal(rig.node("n1").provisionState, "wait call-back");
  await rig.clock.advance(2_000);
  await settleTo(rig, "n1", "deploy failed");
  assert.match(rig.node("n1").lastError ?? "", /did not report in time/);
  await rig.settle();
  assert.equal(rig.node("n1").powerState, "power off");
  assert.equal(rig.node("n1").bootTarget, "none");
});

test("abort ends a waiting deploy as deploy failed", async () => {
  const rig = conductor({ types: [scripted([step("deploy", "deploy", waitForAgent)])] });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "wait call-back");
  await rig.call("node.set_provision_state", { node: "n1", target: "abort" });
  assert.equal(rig.node("n1").provisionState, "deploy failed");
  assert.match(rig.node("n1").lastError ?? "", /aborted/);
});

test("a failing step fails the node with the step's name, and a retry succeeds", async () => {
  let broken = true;
  const write = () =>
    broken ? Promise.reject(new Fault("invalid", "image.checksum", "the image's sha256 is wrong")) : done();
  const rig = conductor({ types: [scripted([step("write_image", "deploy", write)])] });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "deploy failed");
  assert.match(rig.node("n1").lastError ?? "", /deploy step deploy.write_image: the image's sha256 is wrong/);
  broken = false;
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "active");
  assert.equal(rig.node("n1").lastError, null);
});

test("a step is on disk as running before it runs", async () => {
  const seen: string[] = [];
  const rig = conductor({
    types: [
      scripted([
        step("write_image", "deploy", ({ node }: StepContext) => {
          seen.push(node.operation?.progress.kind ?? "none");
          return done();
        }),
      ]),
    ],
  });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "active");
  assert.deepEqual(seen, ["running"]);
});

test("steps learnt on the way run in their order among those that are left", async () => {
  const ran: string[] = [];
  const log = (name: string) => async () => {
    ran.push(name);
    return { kind: "done" } as const;
  };
  const planned = {
    interface: "deploy",
    step: "learnt",
    args: {},
    priority: 50,
    inBand: false,
    abortable: true,
  } as const;
  const rig = conductor({
    types: [
      scripted([
        step("first", "deploy", async () => ({ kind: "done", insert: [planned] })),
        step("learnt", "deploy", log("learnt"), { priority: 0 }),
        step("late", "deploy", log("late"), { priority: 10 }),
        step("middle", "deploy", log("middle"), { priority: 60 }),
      ]),
    ],
  });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(rig, "n1", "active");
  assert.deepEqual(ran, ["middle", "learnt", "late", "learnt"]);
});

test("a locked node is busy for others after a short wait", async () => {
  const rig = conductor({ types: [scripted([step("write_image", "deploy", () => new Promise(() => {}))])] });
  await makeAvailable(rig, "scripted");
  await rig.call("node.set_provision_state", { node: "n1", target: "active" });
  await rig.settle();
  const pending = rig.execute("node.set_power_state", { node: "n1", target: "power off" });
  await rig.clock.advance(3_100);
  const answer = await pending;
  assert.equal(answer.ok ? "" : answer.kind, "busy");
});

for (const [title, repeatable, end] of [
  ["is begun again when it may be repeated", true, "active"],
  ["fails the node with the reason when it may not", false, "deploy failed"],
] as const) {
  test(`after a crash the running step ${title}`, async () => {
    const stuck = conductor({
      types: [scripted([step("write_image", "deploy", () => new Promise(() => {}), { repeatable })])],
    });
    await makeAvailable(stuck, "scripted");
    await stuck.call("node.set_provision_state", { node: "n1", target: "active" });
    await stuck.settle();
    assert.equal(stuck.node("n1").operation?.progress.kind, "running");
    const restarted = conductor({
      store: stuck.store,
      clock: stuck.clock,
      types: [scripted([step("write_image", "deploy", done, { repeatable })])],
    });
    await restarted.recover();
    await settleTo(restarted, "n1", end);
    if (!repeatable) assert.match(restarted.node("n1").lastError ?? "", /restarted.*write_image cannot be begun twice/);
  });
}

test("what a step kept is there when it is begun again after a crash, and for no other step", async () => {
  const stuck = conductor({
    types: [
      scripted([
        step("write_image", "deploy", ({ machine }) => {
          machine.keep({ extents: 1 }, 1);
          machine.keep({ extents: 2 }, 2);
          return new Promise(() => {});
        }),
        step("write_configdrive", "deploy", done, { priority: 50 }),
      ]),
    ],
  });
  await makeAvailable(stuck, "scripted");
  await stuck.call("node.set_provision_state", { node: "n1", target: "active" });
  await stuck.settle();
  const found: unknown[] = [];
  const notes = (name: string, priority: number): ReturnType<typeof step> =>
    step(
      name,
      "deploy",
      ({ kept }) => {
        found.push(kept);
        return done();
      },
      { priority },
    );
  const restarted = conductor({
    store: stuck.store,
    clock: stuck.clock,
    types: [scripted([notes("write_image", 100), notes("write_configdrive", 50)])],
  });
  await restarted.recover();
  await settleTo(restarted, "n1", "active");
  assert.deepEqual(found, [{ extents: 2 }, null]);
});

for (const [title, reachedAt, end] of [
  ["that comes further each time is begun as often as it takes", (run: number) => run, "active"],
  ["that keeps something, but never comes further, is given up", (run: number) => Math.min(run, 2), "deploy failed"],
  ["that comes to nothing is given up", () => undefined, "deploy failed"],
] as const) {
  test(`a step of a daemon that crashes again and again ${title}`, async () => {
    let runs = 0;
    const crashing = step("write_image", "deploy", ({ machine }) => {
      runs += 1;
      const reached = reachedAt(runs);
      if (reached !== undefined) machine.keep({ run: runs }, reached);
      return runs < 12 ? new Promise(() => {}) : done();
    });
    const types = [scripted([crashing])];
    let rig = conductor({ types });
    await makeAvailable(rig, "scripted");
    await rig.call("node.set_provision_state", { node: "n1", target: "active" });
    await rig.settle();
    for (let crash = 0; crash < 12 && rig.node("n1").provisionState === "deploying"; crash += 1) {
      rig = conductor({ store: rig.store, clock: rig.clock, types });
      await rig.recover();
      await rig.settle();
    }
    await settleTo(rig, "n1", end);
    if (end === "active") assert.equal(runs, 12);
    else assert.match(rig.node("n1").lastError ?? "", /write_image: was begun 5 times without coming any further/);
  });
}

test("after a crash a waiting node waits on, with time for its agent to report", async () => {
  const before = conductor({ types: [scripted([step("deploy", "deploy", waitForAgent)])] });
  await makeAvailable(before, "scripted");
  await before.call("node.set_provision_state", { node: "n1", target: "active" });
  await settleTo(before, "n1", "wait call-back");
  await before.runner[Symbol.asyncDispose]();
  await before.clock.advance(3_600_000);
  const after = conductor({
    store: before.store,
    clock: before.clock,
    types: [scripted([step("deploy", "deploy", waitForAgent)])],
  });
  await after.recover();
  await after.clock.advance(60_000);
  assert.equal(after.node("n1").provisionState, "wait call-back");
  await reportAgent(after);
  await settleTo(after, "n1", "active");
});

for (const [title, signs, begunAgain] of [
  ["of whom nothing is heard is booted again", () => {}, true],
  [
    "whose operating system alone is heard of is booted again",
    (rig: Rig) => rig.bootTrace.record(MAC, null, "dhcp.answered", { mac: MAC, answer: "ack" }),
    true,
  ],
  [
    "whose firmware is heard of is waited for",
    (rig: Rig) => rig.bootTrace.record(MAC, null, "dhcp.answered", { mac: MAC, firmware: "pxe bios" }),
    false,
  ],
  [
    "that fetches its files is waited for",
    (rig: Rig) => rig.bootTrace.record(MAC, null, "http.served", { mac: MAC }),
    false,
  ],
  [
    "whose agent has asked for its node is waited for",
    (rig: Rig) => rig.call("agent.lookup", { addresses: [MAC] }),
    false,
  ],
  [
    "that is in maintenance is left alone",
    (rig: Rig) => rig.call("node.set_maintenance", { node: "n1", maintenance: true, reason: "a technician" }),
    false,
  ],
] as const) {
  test(`after a crash a machine ${title}`, async () => {
    let begun = 0;
    const types = [
      scripted([
        step("deploy", "deploy", () => {
          begun += 1;
          return waitForAgent();
        }),
      ]),
    ];
    const before = conductor({ types });
    await makeAvailable(before, "scripted");
    await before.call("node.set_provision_state", { node: "n1", target: "active" });
    await settleTo(before, "n1", "wait call-back");
    await before.runner[Symbol.asyncDispose]();
    const rig = conductor({ store: before.store, clock: before.clock, types });
    await rig.recover();
    await signs(rig);
    await rig.clock.advance(179_000);
    assert.equal(begun, 1);
    await rig.clock.advance(2_000);
    await settleTo(rig, "n1", "wait call-back");
    assert.equal(begun, begunAgain ? 2 : 1);
    const reasons = (await rig.store.history.read(0, 1000))
      .filter(({ type }) => type === "node.recovered")
      .map(({ data }) => data["reason"]);
    assert.deepEqual(
      reasons.map((reason) => /nothing was heard/.test(String(reason))),
      begunAgain ? [false, true] : [false],
    );
    // However it went on, its deadline stands.
    await rig.clock.advance(1_800_000);
    await settleTo(rig, "n1", "deploy failed");
  });
}

test("inspection data that came before the daemon died is not lost", async () => {
  const inspect = [
    step("boot_ramdisk", "inspect", () =>
      Promise.resolve({ kind: "wait", for: "inspection", timeout: millis(1800_000) } as const),
    ),
    step(
      "process",
      "inspect",
      ({ inspection }) => (inspection === null ? Promise.reject(new Error("no data")) : done()),
      { priority: 50 },
    ),
  ];
  const rig = conductor({ types: [scripted(inspect)] });
  await rig.call("node.create", { driver: "scripted", name: "n1", ports: [{ address: "52:54:00:00:00:01" }] });
  await rig.call("node.set_provision_state", { node: "n1", target: "manage" });
  await settleTo(rig, "n1", "manageable");
  await rig.call("node.set_provision_state", { node: "n1", target: "inspect" });
  await settleTo(rig, "n1", "inspect wait");
  const body = { inventory: { interfaces: [{ name: "eth0", mac_address: "52:54:00:00:00:01" }] } };
  // The data is on disk; the daemon dies before it goes on.
  await rig.store.commit((tx) => tx.inventory.put(rig.node("n1").uuid, body));
  const after = conductor({ store: rig.store, clock: rig.clock, types: [scripted(inspect)] });
  await after.recover();
  await settleTo(after, "n1", "manageable");
});

test("a node that wants no automated clean becomes available at once", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1", automated_clean: false });
  await rig.call("node.set_provision_state", { node: "n1", target: "manage" });
  await settleTo(rig, "n1", "manageable");
  await rig.call("node.set_provision_state", { node: "n1", target: "provide" });
  await settleTo(rig, "n1", "available");
  const { history } = (await rig.call("node.history", { node: "n1" })) as {
    history: { type: string; data: JsonObject }[];
  };
  assert.ok(
    !history.some((entry) => entry.type === "node.step.started" && (entry.data["step"] as string).includes("erase")),
  );
});

test("a manual clean runs the caller's steps in their order and ends in manageable, also where automated cleaning is off", async () => {
  const ran: string[] = [];
  const type = scripted([
    step("prepare_cleaning", "clean", done, { priority: 1000 }),
    step("get_clean_steps", "clean", () => Promise.reject(new Error("the steps are chosen")), { priority: 999 }),
    step(
      "tear_down_cleaning",
      "clean",
      async () => {
        ran.push("tear down");
        return { kind: "done" } as const;
      },
      { priority: -1 },
    ),
  ]);
  const deploy = type.deploy.get("scripted");
  assert.ok(deploy !== undefined);
  const withInBand = {
    ...deploy,
    runInBand: async (planned: { readonly step: string }) => {
      ran.push(planned.step);
      return { kind: "done" } as const;
    },
  };
  const rig = conductor({ types: [{ ...type, deploy: new Map([["scripted", withInBand]]) }] });
  await rig.call("node.create", { driver: "scripted", name: "n1", automated_clean: false });
  await rig.call("node.set_provision_state", { node: "n1", target: "manage" });
  await settleTo(rig, "n1", "manageable");
  const steps = [
    { interface: "deploy", step: "erase_devices_metadata" },
    { interface: "deploy", step: "erase_devices", args: { passes: 1 } },
  ];
  await rig.call("node.set_provision_state", { node: "n1", target: "clean", clean_steps: steps });
  for (let turn = 0; turn < 50 && rig.node("n1").operation !== null; turn += 1) await rig.settle();
  assert.equal(rig.node("n1").provisionState, "manageable", rig.node("n1").lastError ?? undefined);
  assert.deepEqual(ran, ["erase_devices_metadata", "erase_devices", "tear down"]);
});
