import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildProgram } from "../../../src/cli/program.ts";
import { SystemClock } from "../../../src/core/clock.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { VERSION } from "../../../src/core/version.ts";

const MAIN = fileURLToPath(new URL("../../../src/main.js", import.meta.url));

/** `ironrack config check FILE` */
async function configCheck(file: string): Promise<{ readonly status: number; readonly err: string }> {
  let status = -1;
  let err = "";
  const terminal = {
    out: () => {},
    err: (text: string) => void (err += text),
    outWidth: undefined,
    errWidth: undefined,
  };
  const interrupted = new AbortController().signal;
  const exit = (code: number): void => void (status = code);
  const parts = { terminal, clock: new SystemClock(), random: new SystemRandom(), version: VERSION, interrupted, exit };
  await buildProgram(parts).parseAsync(["config", "check", file], { from: "user" });
  return { status, err };
}

test("ironrackd --check-config and ironrack config check name the mistakes of boot templates too, with status 3 and 2", async () => {
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
    assert.deepEqual(await configCheck(config), { status: 2, err: stderr });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
