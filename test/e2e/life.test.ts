import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { BUILD } from "../rack/daemon.ts";
import { boundToUs } from "../bound-to-us.ts";

interface Report {
  readonly ok: boolean;
  readonly nodes: readonly {
    readonly node: string;
    readonly firmware: string;
    readonly stages: readonly { readonly stage: string }[];
    readonly bytes: number | null;
  }[];
}

test("the site leads a BIOS and a UEFI machine from bare to a running Debian and back", async () => {
  const demo = spawn(
    ...boundToUs(process.execPath, "--enable-source-maps", join(BUILD, "test/rack/demo.js"), "--json"),
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let output = "";
  demo.stdout.on("data", (chunk) => (output += String(chunk)));
  const [status] = (await once(demo, "close")) as [number | null];
  const report = JSON.parse(output.trim().split("\n").at(-1) ?? "{}") as Report;
  assert.equal(report.ok, true, output);
  assert.equal(status, 0);
  assert.deepEqual(report.nodes.map((node) => node.firmware).toSorted(), ["bios", "uefi"]);
  for (const node of report.nodes) {
    assert.deepEqual(
      node.stages.map((one) => one.stage),
      ["enroll", "manage", "inspect", "provide", "deploy", "verify", "undeploy"],
    );
    assert.ok((node.bytes ?? 0) > 100_000_000, `${node.node} got an image of ${node.bytes} bytes`);
  }
});
