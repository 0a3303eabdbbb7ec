import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fault } from "../../../src/core/fault.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { conductor } from "./rig.ts";

const BMC = { ipmi_address: "127.0.0.1", ipmi_password: "hunter2" };

test("a secret of driver_info is never shown", async () => {
  const rig = conductor();
  const created = await rig.call("node.create", {
    driver: "fake-hardware",
    name: "n1",
    driver_info: BMC,
    extra: { nested: { api_token: "t0p" } },
  });
  for (const value of [
    created,
    await rig.call("node.show", { node: "n1" }),
    await rig.call("node.list", {}),
    await rig.call("event.list", {}),
  ]) {
    assert.doesNotMatch(JSON.stringify(value), /hunter2/);
  }
  assert.equal((created as { driver_info: JsonObject }).driver_info["ipmi_password"], "******");
});

test("six stars are refused where they would replace a password", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1", driver_info: BMC });
  const answer = await rig.execute("node.update", {
    node: "n1",
    patch: [{ op: "replace", path: "/driver_info", value: { ipmi_address: "127.0.0.2", ipmi_password: "******" } }],
  });
  assert.equal(answer.ok ? "" : answer.detail["field"], "driver_info.ipmi_password");
  assert.equal(rig.node("n1").driverInfo["ipmi_password"], "hunter2");
});

for (const [title, method, params, field] of [
  ["a missing field", "node.create", {}, "driver"],
  ["an unknown field", "node.create", { driver: "fake-hardware", colour: "red" }, "colour"],
  ["a wrong type", "node.create", { driver: "fake-hardware", driver_info: 5 }, "driver_info"],
  [
    "a nested field",
    "node.create",
    { driver: "fake-hardware", ports: [{ address: "52:54:00:00:00:01" }, { address: "nonsense" }] },
    "ports.1.address",
  ],
  ["a driver that is not enabled", "node.create", { driver: "ilo" }, "driver"],
  [
    "a name that could be a UUID",
    "node.create",
    { driver: "fake-hardware", name: "11111111-2222-3333-4444-555555555555" },
    "name",
  ],
  [
    "a field that may not be patched",
    "node.update",
    { node: "n1", patch: [{ op: "replace", path: "/provision_state", value: "active" }] },
    "patch.path",
  ],
  [
    "a patch into the prototype",
    "node.update",
    { node: "n1", patch: [{ op: "add", path: "/__proto__/x", value: 1 }] },
    "patch.path",
  ],
] as const) {
  test(`${title} is refused with the field's name`, async () => {
    const rig = conductor();
    await rig.call("node.create", { driver: "fake-hardware", name: "n1" });
    const answer = await rig.execute(method, params as JsonObject);
    assert.equal(answer.ok ? "accepted" : answer.kind, "invalid");
    assert.equal(answer.ok ? "" : answer.detail["field"], field);
    assert.equal(rig.store.nodes.list().length, 1);
  });
}

test("every command checks its parameters: one that none knows is refused by name", () => {
  const { catalogue } = conductor();
  for (const { name } of catalogue.commands) {
    assert.throws(
      () => catalogue.check({ method: name, params: { colour: "red" }, role: "operator" }),
      (error: Fault) => error.kind === "invalid",
      name,
    );
  }
});

test("names and MAC addresses are taken once", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1", ports: [{ address: "52:54:00:00:00:01" }] });
  for (const params of [{ name: "n1" }, { name: "n2", ports: [{ address: "52-54-00-00-00-01" }] }]) {
    const answer = await rig.execute("node.create", { driver: "fake-hardware", ...params });
    assert.equal(answer.ok ? "accepted" : answer.kind, "conflict");
  }
  assert.equal(rig.store.nodes.list().length, 1);
});

test("a command repeated with its id gets the stored answer and is not done again", async () => {
  const rig = conductor();
  const request = { driver: "fake-hardware", name: "n1" };
  await rig.store.commit((tx) =>
    tx.commands.accept({
      id: "c-1",
      method: "node.create",
      params: request,
      receivedAt: "2026-01-01T00:00:00.000Z",
      expiresAt: null,
      reply: null,
      answer: null,
      delivered: false,
    }),
  );
  const first = await rig.execute("node.create", request, "c-1");
  const second = await rig.execute("node.create", request, "c-1");
  assert.ok(first.ok);
  assert.deepEqual(second, first);
  assert.equal(rig.store.nodes.list().length, 1);
});

test("a refused command's answer is stored too", async () => {
  const rig = conductor();
  await rig.store.commit((tx) =>
    tx.commands.accept({
      id: "c-1",
      method: "node.show",
      params: { node: "n1" },
      receivedAt: "2026-01-01T00:00:00.000Z",
      expiresAt: null,
      reply: null,
      answer: null,
      delivered: false,
    }),
  );
  const first = await rig.execute("node.show", { node: "n1" }, "c-1");
  await rig.call("node.create", { driver: "fake-hardware", name: "n1" });
  assert.deepEqual(await rig.execute("node.show", { node: "n1" }, "c-1"), first);
});

test("an agent may call the agents' commands only", async () => {
  const rig = conductor();
  const answer = await rig.catalogue.execute(
    { method: "node.list", params: {}, role: "agent" },
    { signal: new AbortController().signal },
  );
  assert.equal(answer.ok ? "accepted" : answer.kind, "refused");
});

test("a deployed node cannot be removed, a manageable one can, with its ports", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1", ports: [{ address: "52:54:00:00:00:01" }] });
  const { uuid } = rig.node("n1");
  await rig.store.commit((tx) => tx.nodes.put({ ...rig.node("n1"), provisionState: "active" }));
  assert.equal((await rig.execute("node.delete", { node: "n1" })).ok, false);
  await rig.store.commit((tx) => tx.nodes.put({ ...rig.node("n1"), provisionState: "manageable" }));
  await rig.call("node.delete", { node: "n1" });
  assert.equal(rig.store.nodes.get(uuid), undefined);
  assert.equal(rig.store.ports.list().length, 0);
});

test("events come in order with rising numbers, and a caller can wait for the next", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1" });
  const first = (await rig.call("event.list", { after: 0 })) as {
    events: { seq: number; type: string }[];
    last_seq: number;
  };
  assert.deepEqual(
    first.events.map((event) => [event.seq, event.type]),
    [[1, "node.created"]],
  );
  const waiting = rig.call("event.list", { after: first.last_seq, wait_s: 30 });
  await rig.call("node.set_maintenance", { node: "n1", maintenance: true, reason: "fan" });
  const next = (await waiting) as { events: { type: string }[] };
  assert.deepEqual(
    next.events.map((event) => event.type),
    ["node.maintenance"],
  );
  const silent = rig.call("event.list", { after: 99, wait_s: 30 });
  await rig.clock.advance(30_000);
  assert.deepEqual(((await silent) as { events: unknown[] }).events, []);
});

const SAN = { target_portal: "10.0.0.9:3260", target_iqn: "iqn.2026-01.org.example:san", target_lun: 1 };

test("a volume's password is kept and never shown, and its node must be off before it is forgotten", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1" });
  const secret = { ...SAN, auth_method: "CHAP", auth_username: "r1", auth_password: "s3cret-s3cret" };
  const target = (await rig.call("volume_target.create", {
    node: "n1",
    volume_type: "iscsi",
    boot_index: 0,
    volume_id: "lun-7",
    properties: secret,
  })) as { uuid: string; properties: JsonObject };
  await rig.call("volume_connector.create", { node: "n1", type: "iqn", connector_id: "iqn.2026-01.org.example:n1" });
  assert.equal(target.properties["auth_password"], "******");
  for (const [method, params] of [
    ["volume_target.list", { node: "n1" }],
    ["volume_target.show", { volume_target: target.uuid }],
    ["volume_connector.list", {}],
    ["event.list", {}],
  ] as const)
    assert.doesNotMatch(JSON.stringify(await rig.call(method, params)), /s3cret/);
  const kept = rig.store.volumes.list()[0];
  assert.equal(kept?.kind === "target" ? kept.properties["auth_password"] : "", "s3cret-s3cret");
  const running = await rig.execute("volume_target.delete", { volume_target: target.uuid });
  assert.equal(running.ok ? "" : running.detail["field"], "volume_target");
  await rig.store.commit((tx) => tx.nodes.put({ ...rig.node("n1"), powerState: "power off" }));
  await rig.call("volume_target.delete", { volume_target: target.uuid });
  assert.deepEqual(await rig.call("volume_target.list", {}), { targets: [] });
});

test("a volume that cannot be booted from, a second one of its place, and one that is not there are refused by name", async () => {
  const rig = conductor();
  await rig.call("node.create", { driver: "fake-hardware", name: "n1" });
  const volume = { node: "n1", volume_type: "iscsi", boot_index: 0, volume_id: "a", properties: SAN };
  const refused = async (method: string, params: JsonObject): Promise<string> => {
    const answer = await rig.execute(method, params);
    return answer.ok ? "accepted" : `${answer.kind} ${String(answer.detail["field"] ?? "")}`.trim();
  };
  const wrong = { ...volume, properties: { ...SAN, target_iqn: "x" } };
  assert.equal(await refused("volume_target.create", wrong), "invalid properties.target_iqn");
  const starred = { ...volume, properties: { ...SAN, auth_password: "******" } };
  assert.equal(await refused("volume_target.create", starred), "invalid properties.auth_password");
  await rig.call("volume_target.create", volume);
  assert.equal(await refused("volume_target.create", { ...volume, volume_id: "b" }), "conflict identity");
  const connector = { node: "n1", type: "iqn", connector_id: "n1" };
  assert.equal(await refused("volume_connector.create", connector), "invalid connector_id");
  assert.equal(
    await refused("volume_target.show", { volume_target: "11111111-2222-4333-8444-555555555555" }),
    "not-found",
  );
});
