import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../../src/main.js", import.meta.url));
const CLI = fileURLToPath(new URL("../../../src/cli/main.js", import.meta.url));

test("ironrackd --check-config and ironrack config check name the mistakes of boot templates too, with status 3 and 2", () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-check-"));
  try {
    const templates = join(directory, "boot.d");
    mkdirSync(templates);
    const config = join(directory, "appliance.conf");
    writeFileSync(
      config,
      `[boot]\ninterface = "eth1"\naddress = "10.20.0.1/24"\ntemplate_dir = ${JSON.stringify(templates)}\n`,
    );
    const check = () => spawnSync(process.execPath, [MAIN, "--config", config, "--check-config"], { encoding: "utf8" });
    assert.equal(check().status, 0);
    writeFileSync(join(templates, "disk.ipxe"), "#!ipxe\nexit {{status}}\n");
    const { status, stderr } = check();
    assert.equal(status, 3);
    assert.match(stderr, /disk\.ipxe:2:6: \{\{status\}\} is unknown; there are mac, /);
    const verb = spawnSync(process.execPath, [CLI, "config", "check", config], { encoding: "utf8" });
    assert.deepEqual({ status: verb.status, stderr: verb.stderr }, { status: 2, stderr });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
