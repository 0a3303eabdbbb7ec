import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "../../src/core/json.ts";
import { silentLog } from "../../src/core/log.ts";
import { openStore } from "../../src/store/level-store.ts";
import { readStoreKey } from "../../src/store/seal.ts";
import { clock, someNode } from "./rack.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** An appliance whose daemon is down: a configuration and, if wanted, a store with a node in it. */
async function appliance(
  withStore: boolean,
  use: (run: (...args: readonly string[]) => Promise<Ended>, state: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-offline-"));
  const state = join(directory, "state");
  const config = join(directory, "appliance.conf");
  writeFileSync(config, `[appliance]\nstate_dir = "${state}"\n[boot]\ninterface = "eth9"\naddress = "10.0.0.1/24"\n`);
  mkdirSync(state, { mode: 0o700 });
  try {
    if (withStore) {
      await using store = await openStore({
        directory: join(state, "store"),
        clock,
        log: silentLog,
        key: readStoreKey(join(state, "store.key")),
      });
      const node = {
        ...someNode("00000000-0000-4000-8000-000000000001", "n1"),
        driverInfo: { ipmi_address: "10.0.0.21", ipmi_password: "hunter2" },
      };
      await store.commit((tx) => {
        tx.nodes.put(node);
        tx.history.append({
          type: "node.created",
          severity: "INFO",
          node: node.uuid,
          name: "n1",
          operation: null,
          data: { driver: "ipmi" },
        });
      });
    }
    await use(
      (...args) =>
        new Promise((resolve) => {
          execFile(
            process.execPath,
            [MAIN, "--socket", join(directory, "none.sock"), "--config", config, ...args],
            (error, out, err) => resolve({ status: error === null ? 0 : Number(error.code), out, err }),
          );
        }),
      state,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("while the daemon is down reading verbs answer from its store, say so, and show no secret", async () => {
  await appliance(true, async (run) => {
    const list = await run("node", "list");
    assert.equal(list.status, 0, list.err);
    assert.match(list.out, /n1 .*enroll/);
    assert.match(list.err, /ironrackd is down/);
    const show = await run("node", "show", "n1", "--json");
    const node = JSON.parse(show.out) as JsonObject;
    assert.deepEqual(node["driver_info"], { ipmi_address: "10.0.0.21", ipmi_password: "******" });
    assert.equal(node["provision_state"], "enroll");
    assert.equal(JSON.stringify(node).includes("hunter2"), false);
    assert.match((await run("node", "history", "n1")).out, /enrolled with driver ipmi/);
    assert.match((await run("logs")).out, /enrolled with driver ipmi/);
    assert.equal((await run("node", "show", "n2")).status, 3);
    for (const verb of [["node", "delete", "n1"], ["node", "power", "on", "n1"], ["status"]]) {
      const refused = await run(...verb);
      assert.equal(refused.status, 8);
      assert.match(refused.err, /systemctl status ironrackd/);
    }
  });
});

test("looking does not make a store where there is none", async () => {
  await appliance(false, async (run, state) => {
    assert.equal((await run("node", "list")).status, 8);
    assert.deepEqual(readdirSync(state), []);
  });
});

test("a store that the daemon holds is not opened beside it", async () => {
  await appliance(true, async (run, state) => {
    await using _store = await openStore({
      directory: join(state, "store"),
      clock,
      log: silentLog,
      key: readStoreKey(join(state, "store.key")),
    });
    const { status, err } = await run("node", "list");
    assert.equal(status, 5);
    assert.match(err, /in use/);
  });
});

test("root leaves the daemon's files the daemon's", { skip: process.geteuid?.() !== 0 }, async () => {
  await appliance(true, async (run, state) => {
    const nobody = 65534;
    const everything = [
      state,
      join(state, ".."),
      ...readdirSync(state, { recursive: true }).map((name) => join(state, String(name))),
    ];
    for (const path of everything) chownSync(path, nobody, nobody);
    const { status, err } = await run("node", "list");
    assert.equal(status, 0, err);
    for (const name of readdirSync(state, { recursive: true }))
      assert.equal(statSync(join(state, String(name))).uid, nobody, String(name));
  });
});

test("doctor names what is wrong, and config check names the place", async () => {
  await appliance(true, async (run, state) => {
    const doctor = await run("doctor", "--json");
    assert.equal(doctor.status, 1);
    const { findings } = JSON.parse(doctor.out) as { findings: { check: string; state: string; says: string }[] };
    const said = (check: string): string =>
      findings
        .filter((one) => one.check === check)
        .map((one) => `${one.state}: ${one.says}`)
        .join("\n");
    assert.match(said("config"), /^good/);
    assert.match(said("daemon"), /^bad: .*systemctl/);
    assert.match(said("network"), /^bad: there is no interface eth9/);
    assert.match(said("store"), /^good/);
    assert.match(said("disk"), /free in/);
    const config = join(state, "..", "appliance.conf");
    assert.equal((await run("config", "check")).status, 0);
    writeFileSync(config, '[boot]\ninterfase = "eth9"\n');
    const check = await run("config", "check");
    assert.equal(check.status, 2);
    assert.match(check.err, /appliance\.conf:2:1: .*interfase.*interface/);
    assert.equal((await run("node", "list")).status, 8);
  });
});
