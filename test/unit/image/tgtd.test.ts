import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { boundToUs } from "../../bound-to-us.ts";
import { gone } from "../../gone.ts";

const PROGRAM = `
  import { spawnTgtd } from ${JSON.stringify(join(import.meta.dirname, "tgtd.js"))};
  const { process, admin } = await spawnTgtd();
  admin("--lld iscsi --op new --mode target --tid 1 -T iqn.2026-01.test:left");
  console.log(process.pid);
  setInterval(() => {}, 1e6);
`;

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`a tgtd with a target ends with the process that started it: ${signal}`, { timeout: 60_000 }, async () => {
    const child = spawn(...boundToUs(process.execPath, "--input-type=module", "-e", PROGRAM), {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const tgtd = Number(line);
    assert.equal(process.kill(tgtd, 0), true);
    child.kill(signal);
    await once(child, "exit");
    await gone(tgtd);
  });
}
