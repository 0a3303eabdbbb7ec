import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMacAddress, parsePortUuid } from "../../../src/core/brand.ts";
import { FakeClock } from "../../../src/core/clock.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { orderingKeys } from "../../../src/mqtt/ordering-keys.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";
import { someNode } from "../../peer/rack.ts";

const NODE = "00000000-0000-4000-8000-000000000001";
const PORT = "00000000-0000-4000-8000-000000000002";

async function share(a: JsonObject, b: JsonObject): Promise<boolean> {
  await using store = openMemoryStore({ clock: new FakeClock() });
  const node = someNode(NODE, "n1");
  const at = node.createdAt;
  await store.commit((tx) => {
    tx.nodes.put(node);
    tx.ports.put({
      uuid: parsePortUuid(PORT),
      nodeUuid: node.uuid,
      address: parseMacAddress("52:54:00:00:00:01"),
      pxeEnabled: true,
      localLinkConnection: {},
      physicalNetwork: null,
      extra: {},
      createdAt: at,
      updatedAt: at,
    });
  });
  const [one, two] = [orderingKeys(a, store), orderingKeys(b, store)];
  return [...one].some((key) => two.has(key));
}

test("a node counts as one, whether it is called by name, by UUID in any case, or by one of its ports", async () => {
  for (const a of [
    { node: "n1" },
    { node: NODE },
    { node: NODE.toUpperCase() },
    { port: PORT },
    { port: "52-54-00-00-00-01" },
  ]) {
    for (const b of [{ node: "n1" }, { node: NODE }, { port: PORT }])
      assert.equal(await share(a, b), true, JSON.stringify([a, b]));
  }
});

test("a node that is to be created counts under its name to be", async () => {
  assert.equal(await share({ name: "new", driver: "ipmi" }, { node: "new" }), true);
  assert.equal(await share({ uuid: PORT, driver: "ipmi" }, { node: PORT }), true);
});

test("other nodes, and words of the wrong type, share nothing", async () => {
  assert.equal(await share({ node: "n1" }, { node: "n2" }), false);
  assert.equal(await share({ node: 5 }, { node: 5 }), false);
  assert.equal(await share({ port: "nonsense" }, { node: "nonsense" }), false);
  assert.equal(await share({}, {}), false);
});
