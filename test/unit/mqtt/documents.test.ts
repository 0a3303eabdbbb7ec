import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { Ajv } from "ajv";
import { isJsonObject, type Json, type JsonObject } from "../../../src/core/json.ts";
import { silentLog } from "../../../src/core/log.ts";
import { asyncApi } from "../../../src/mqtt/async-api.ts";
import { nodeState, stateOf } from "../../../src/mqtt/node-state.ts";
import { channelDocuments } from "../../documents.ts";
import { FakeRack } from "../../peer/fake-rack.ts";
import { eventOf } from "../../../src/mqtt/payloads.ts";

const root = resolve(import.meta.dirname, "../../../..");

test("docs/mqtt.md and docs/asyncapi.json say what the schemas say (npm run docs writes them)", async () => {
  for (const [path, text] of await channelDocuments())
    assert.equal(readFileSync(resolve(root, path), "utf8"), text, path);
});

/** Every `$ref` in the document. */
function references(value: Json): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((one: Json) => references(one));
  if (!isJsonObject(value)) return [];
  return Object.entries(value).flatMap(([key, one]) =>
    key === "$ref" && typeof one === "string" ? [one] : references(one),
  );
}

test("every reference of the AsyncAPI document leads somewhere, and every message has a schema that compiles", async () => {
  await using rack = await FakeRack.open();
  const document = asyncApi(rack.catalogue.commands, "0");
  for (const reference of references(document)) {
    let place: Json | undefined = document;
    for (const part of reference.slice(2).split("/")) place = isJsonObject(place) ? place[part] : undefined;
    assert.ok(isJsonObject(place), reference);
  }
  const ajv = new Ajv({ strict: false, formats: { uuid: true, "date-time": true } });
  const messages = (document["components"] as JsonObject)["messages"] as JsonObject;
  for (const message of Object.values(messages)) ajv.compile((message as JsonObject)["payload"] as JsonObject);
  for (const { name } of rack.catalogue.commands)
    assert.ok(Object.hasOwn(messages, `command.${name}`) && Object.hasOwn(messages, `reply.${name}`), name);
});

test("the events and the node states of a whole life fit their schemas, with no field that is not written down", async () => {
  await using rack = await FakeRack.open();
  const { signal } = new AbortController();
  const call = async (method: string, params: JsonObject): Promise<void> => {
    const answer = await rack.catalogue.execute({ method, params, role: "operator" }, { signal, log: silentLog });
    assert.ok(answer.ok, JSON.stringify(answer));
  };
  const ajv = new Ajv({ strict: false, formats: { uuid: true, "date-time": true } });
  const closed = (schema: JsonObject): JsonObject => ({ ...schema, additionalProperties: false });
  const state = ajv.compile(closed(JSON.parse(JSON.stringify(nodeState)) as JsonObject));
  const rest = async (): Promise<void> => {
    for (let seq = 0; ; ) {
      const node = rack.store.nodes.byName("n1");
      if (node !== undefined) assert.ok(state(stateOf(node)), JSON.stringify(state.errors));
      if (
        node === undefined ||
        (node.operation === null && node.targetProvisionState === null && node.targetPowerState === null)
      )
        return;
      seq = rack.store.history.lastSeq;
      await rack.store.history.waitAfter(seq, AbortSignal.any([signal]));
    }
  };
  await call("node.create", { driver: "stubborn-hardware", name: "n1" });
  await call("port.create", { node: "n1", address: "52:54:00:00:00:01" });
  await call("node.update", { node: "n1", patch: [{ op: "add", path: "/extra/a", value: 1 }] });
  await call("node.set_maintenance", { node: "n1", maintenance: true, reason: "fan" });
  await call("node.set_maintenance", { node: "n1", maintenance: false });
  for (const target of ["manage", "inspect", "clean"]) {
    await call("node.set_provision_state", { node: "n1", target });
    if (target !== "clean") await rest();
  }
  while (rack.store.nodes.byName("n1")?.provisionState !== "clean failed")
    await rack.store.history.waitAfter(rack.store.history.lastSeq, signal);
  await call("node.set_provision_state", { node: "n1", target: "manage" });
  await call("node.set_power_state", { node: "n1", target: "power on" });
  await rest();
  await call("port.delete", { port: "52:54:00:00:00:01" });
  await call("node.delete", { node: "n1" });

  const seen = new Set<string>();
  for (const event of await rack.store.history.read(0, 1000)) {
    seen.add(event.type);
    const schema = JSON.parse(JSON.stringify(eventOf(event.type))) as { properties: { data: JsonObject } };
    schema.properties.data = closed(schema.properties.data);
    assert.ok(
      ajv.validate(closed(schema as unknown as JsonObject), event),
      `${JSON.stringify(event)}: ${JSON.stringify(ajv.errors)}`,
    );
  }
  for (const type of [
    "node.created",
    "node.state",
    "node.power",
    "node.step.started",
    "node.failed",
    "node.maintenance",
    "port.created",
    "node.deleted",
  ])
    assert.ok(seen.has(type), type);
});
