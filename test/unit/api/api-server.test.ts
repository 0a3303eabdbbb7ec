import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { Fault, invalid } from "../../../src/core/fault.ts";
import { FakeClock } from "../../../src/core/clock.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { silentLog } from "../../../src/core/log.ts";
import { ApiServer } from "../../../src/api/api-server.ts";
import { Catalogue, command, type Command } from "../../../src/conductor/catalogue.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";

const free = Type.Unsafe<JsonObject>(Type.Object({}));
const NODE = {
  uuid: "00000000-0000-4000-8000-000000000001",
  name: "n1",
  provision_state: "available",
  fault: null,
  firmware_interface: null,
  operation: null,
};

/** Commands with the names and roles of the real ones; what they were given is kept. */
function commands(calls: { method: string; params: JsonObject }[]): readonly Command[] {
  const one = (name: string, role: "agent" | "operator", result: (params: JsonObject) => JsonObject | null): Command =>
    command({
      name,
      summary: name,
      role,
      changes: false,
      params: Type.Object({}, { additionalProperties: true }),
      result: free,
      handle: async (given) => {
        const params = given as JsonObject;
        calls.push({ method: name, params });
        return result(params) as JsonObject;
      },
    });
  return [
    one("agent.lookup", "agent", ({ addresses }) => {
      if (JSON.stringify(addresses) === "[]") throw invalid("addresses", "must be given");
      return { node: { uuid: NODE.uuid }, config: { heartbeat_timeout: 300 } };
    }),
    one("agent.heartbeat", "agent", ({ agent_token: token }) => {
      if (token !== "good") throw invalid("agent_token", "is wrong");
      return null;
    }),
    one("agent.continue_inspection", "agent", () => ({ uuid: NODE.uuid })),
    one("node.list", "operator", () => ({ nodes: [NODE] })),
    one("node.show", "operator", ({ node }) => {
      if (node !== "n1")
        throw new Fault("not-found", "node.not-found", `node "${JSON.stringify(node)}" could not be found`);
      return NODE;
    }),
    one("port.list", "operator", () => ({
      ports: [{ uuid: NODE.uuid, address: "52:54:00:00:00:01", pxe_enabled: true }],
    })),
    one("port.show", "operator", () => ({ uuid: NODE.uuid })),
  ];
}

async function serve(
  use: (base: string, calls: { method: string; params: JsonObject }[]) => Promise<void>,
): Promise<void> {
  const calls: { method: string; params: JsonObject }[] = [];
  const store = openMemoryStore({ clock: new FakeClock() });
  const catalogue = new Catalogue({ commands: commands(calls), store, log: silentLog });
  await using api = new ApiServer({ catalogue, log: silentLog, address: "127.0.0.1", port: 0 });
  await api.start();
  await use(`http://127.0.0.1:${api.port}`, calls);
}

const inner = async (response: Response): Promise<JsonObject> =>
  JSON.parse((JSON.parse(await response.text()) as { error_message: string }).error_message) as JsonObject;
const version = (text: string): RequestInit => ({ headers: { "X-OpenStack-Ironic-API-Version": text } });

test("the root documents tell clients the versions and the resources — IRONIC API 3.1", async () => {
  await serve(async (base) => {
    const root = (await (await fetch(base)).json()) as { default_version: JsonObject; versions: JsonObject[] };
    assert.equal(root.default_version["min_version"], "1.1");
    assert.equal(root.default_version["version"], "1.82");
    assert.deepEqual(root.versions, [root.default_version]);
    const old = (await (await fetch(`${base}/v1/`)).json()) as JsonObject;
    assert.equal(old["id"], "v1");
    assert.equal(old["lookup"], undefined);
    const now = (await (await fetch(`${base}/v1`, version("1.22"))).json()) as { lookup: { href: string }[] };
    assert.equal(now.lookup[0]?.href, `${base}/v1/lookup/`);
  });
});

test("every answer carries the versions; a version out of range or no version at all is 406 — IRONIC API 3.2", async () => {
  await serve(async (base) => {
    const header = (response: Response, name: string): string | null =>
      response.headers.get(`X-OpenStack-Ironic-API-${name}`);
    const plain = await fetch(`${base}/v1/lookup`);
    assert.deepEqual(
      [header(plain, "Minimum-Version"), header(plain, "Maximum-Version"), header(plain, "Version")],
      ["1.1", "1.82", "1.1"],
    );
    assert.match(plain.headers.get("Openstack-Request-Id") ?? "", /^req-[0-9a-f-]{36}$/);
    assert.equal(header(await fetch(base, version("latest")), "Version"), "1.82");
    const beyond = await fetch(`${base}/v1/nodes`, version("1.83"));
    assert.equal(beyond.status, 406);
    assert.deepEqual([header(beyond, "Maximum-Version"), header(beyond, "Version")], ["1.82", null]);
    assert.equal((await inner(beyond))["code"], 406);
    const nonsense = await fetch(`${base}/v1/nodes`, version("banana"));
    assert.equal(nonsense.status, 406);
    assert.equal(header(nonsense, "Maximum-Version"), null);
  });
});

test("lookup takes a comma list of addresses and answers the node with links", async () => {
  await serve(async (base, calls) => {
    const answer = await fetch(
      `${base}/v1/lookup?addresses=52:54:00:00:00:01,52:54:00:00:00:02&node_uuid=${NODE.uuid}`,
      version("1.68"),
    );
    assert.equal(answer.status, 200);
    const body = (await answer.json()) as { node: { links: { href: string }[] }; config: JsonObject };
    assert.equal(body.node.links[0]?.href, `${base}/v1/nodes/${NODE.uuid}`);
    assert.equal(body.config["heartbeat_timeout"], 300);
    assert.deepEqual(calls[0]?.params, { addresses: ["52:54:00:00:00:01", "52:54:00:00:00:02"], node_uuid: NODE.uuid });
    const none = await fetch(`${base}/v1/lookup`);
    assert.equal(none.status, 400);
    assert.match(JSON.stringify((await inner(none))["faultstring"]), /addresses/);
  });
});

test("a heartbeat is 202 with an empty body; a wrong token is 400; fields that are not known are passed over", async () => {
  await serve(async (base, calls) => {
    const beat = async (body: string, type = "application/json"): Promise<Response> =>
      await fetch(`${base}/v1/heartbeat/${NODE.uuid}`, { method: "POST", body, headers: { "content-type": type } });
    const good = await beat(
      JSON.stringify({ callback_url: "https://10.0.0.5:9999", agent_token: "good", from_the_future: 1 }),
    );
    assert.equal(good.status, 202);
    assert.equal(await good.text(), "");
    assert.equal(good.headers.get("content-type"), null);
    assert.deepEqual(calls[0]?.params, { callback_url: "https://10.0.0.5:9999", agent_token: "good", node: NODE.uuid });
    assert.equal((await beat(JSON.stringify({ callback_url: "x", agent_token: "bad" }))).status, 400);
    for (const body of ["{", "[]", '"x"', "null"]) {
      const bad = await beat(body);
      assert.equal(bad.status, 400, body);
      assert.equal((await inner(bad))["faultcode"], "Client");
    }
    assert.equal((await beat("a=b", "application/x-www-form-urlencoded")).status, 415);
    const large = await beat(JSON.stringify({ callback_url: "x".repeat(300_000) }));
    assert.equal(large.status, 413);
    assert.equal((await inner(large))["faultcode"], "Client");
  });
});

test("what a ramdisk found is taken up to 16 MiB and answered 202 with the node's UUID", async () => {
  await serve(async (base) => {
    const post = async (bytes: number): Promise<Response> =>
      await fetch(`${base}/v1/continue_inspection`, {
        method: "POST",
        body: JSON.stringify({ inventory: {}, logs: "x".repeat(bytes) }),
        headers: { "content-type": "application/json" },
      });
    const answer = await post(8_000_000);
    assert.equal(answer.status, 202);
    assert.deepEqual(await answer.json(), { uuid: NODE.uuid });
    assert.equal((await post(17_000_000)).status, 413);
  });
});

test("a node shows the fields of the asked version — IRONIC API 3.9", async () => {
  await serve(async (base) => {
    const old = (await (await fetch(`${base}/v1/nodes/n1`)).json()) as JsonObject;
    assert.equal(old["provision_state"], null);
    assert.equal(Object.hasOwn(old, "name"), false);
    const now = (await (await fetch(`${base}/v1/nodes/n1`, version("1.82"))).json()) as JsonObject;
    assert.equal(now["provision_state"], "available");
    assert.equal(now["conductor_group"], "");
    assert.equal(Object.hasOwn(now, "operation"), false);
    assert.equal(Object.hasOwn(now, "firmware_interface"), false);
    const list = (await (await fetch(`${base}/v1/nodes`, version("1.82"))).json()) as { nodes: JsonObject[] };
    assert.deepEqual(Object.keys(list.nodes[0] ?? {}).sort(), ["links", "name", "provision_state", "uuid"]);
    assert.equal((await fetch(`${base}/v1/nodes?colour=red`)).status, 400);
    const missing = await fetch(`${base}/v1/nodes/n2`);
    assert.equal(missing.status, 404);
    assert.match(JSON.stringify((await inner(missing))["faultstring"]), /could not be found/);
    assert.equal((await fetch(`${base}/v1/ports/?node=n1`)).status, 200);
    assert.equal((await fetch(`${base}/v2/nodes`)).status, 404);
  });
});
