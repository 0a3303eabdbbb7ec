import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { test } from "node:test";
import { silentLog } from "../../src/core/log.ts";
import { ApiServer } from "../../src/api/api-server.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { FakeRack } from "./fake-rack.ts";

const absent = spawnSync("baremetal", ["--version"]).status !== 0;

interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Ironic's own client, against the REST API of a rack with one node. */
async function withClient(
  use: (baremetal: (...args: readonly string[]) => Promise<Ended>) => Promise<void>,
): Promise<void> {
  await using rack = await FakeRack.open();
  await using api = new ApiServer({ catalogue: rack.catalogue, log: silentLog, address: "127.0.0.1", port: 0 });
  await api.start();
  const { signal } = new AbortController();
  for (const [method, params] of [
    ["node.create", { driver: "fake-hardware", name: "n1", driver_info: { password: "hunter2" } }],
    ["port.create", { node: "n1", address: "52:54:00:00:00:01" }],
  ] as const) {
    await rack.catalogue.execute({ method, params, role: "operator" }, { signal });
  }
  const env = {
    ...process.env,
    OS_AUTH_TYPE: "none",
    OS_ENDPOINT: `http://127.0.0.1:${api.port}`,
    HOME: rack.directory,
  };
  await use(
    (...args) =>
      new Promise((resolve) => {
        execFile("baremetal", [...args], { env }, (error, out, err) =>
          resolve({ status: error === null ? 0 : Number(error.code), out, err }),
        );
      }),
  );
}

test("Ironic's client reads nodes and ports and understands the errors", {
  skip: absent,
  timeout: 120_000,
}, async () => {
  await withClient(async (baremetal) => {
    const parse = async (run: Promise<Ended>): Promise<unknown> => {
      const { status, out, err } = await run;
      assert.equal(status, 0, err);
      return JSON.parse(out);
    };
    const [listed] = (await parse(baremetal("node", "list", "-f", "json"))) as JsonObject[];
    assert.deepEqual(
      [listed?.["Name"], listed?.["Provisioning State"], listed?.["Maintenance"]],
      ["n1", "enroll", false],
    );
    const shown = (await parse(baremetal("node", "show", "n1", "-f", "json"))) as JsonObject;
    assert.equal(shown["uuid"], listed?.["UUID"]);
    assert.deepEqual(shown["driver_info"], { password: "******" });
    const ports = (await parse(baremetal("port", "list", "--node", "n1", "-f", "json"))) as JsonObject[];
    assert.equal(ports[0]?.["Address"], "52:54:00:00:00:01");
    const missing = await baremetal("node", "show", "n2");
    assert.notEqual(missing.status, 0);
    assert.match(missing.err, /could not be found/);
  });
});
