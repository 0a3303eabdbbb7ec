import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../../../src/core/fault.ts";
import { toml } from "../../rack/appliance-conf.ts";
import { configDrive } from "../../rack/config-drive.ts";
import { demoMachines, parseDemoOptions } from "../../rack/demo-options.ts";
import { streamSummary } from "../../rack/demo-node.ts";
import { errorWords } from "../../rack/site-cli.ts";
import { type DemoReport, reportJson, reportTable } from "../../rack/demo-report.ts";

test("without options there are two machines, a BIOS and a UEFI one; with --only there is one of it", () => {
  const names = (args: readonly string[]) => demoMachines(parseDemoOptions(args)).map((machine) => machine.name);
  assert.deepEqual(names([]), ["bios-1", "uefi-2"]);
  assert.deepEqual(names(["--only", "uefi"]), ["uefi-1"]);
  assert.deepEqual(names(["--machines", "3"]), ["bios-1", "uefi-2", "bios-3"]);
  assert.deepEqual(names(["--machines", "2", "--only", "bios"]), ["bios-1", "bios-2"]);
});

test("a wrong option is refused by name", () => {
  for (const [args, name] of [
    [["--machines", "0"], "--machines"],
    [["--machines", "x"], "--machines"],
    [["--only", "arm"], "--only"],
    [["--colour"], "--colour"],
  ] as const) {
    assert.throws(
      () => parseDemoOptions(args),
      (error) => isFault(error) && error.kind === "invalid" && error.message.includes(name),
    );
  }
});

const report: DemoReport = {
  ok: false,
  seconds: 12.5,
  nodes: [
    {
      node: "bios-1",
      firmware: "bios",
      stages: [
        { stage: "enroll", seconds: 1 },
        { stage: "deploy", seconds: 61.25 },
      ],
      bytes: 1000,
      mbPerSecond: 99.6,
      failure: { stage: "verify", reason: "no SSH" },
    },
  ],
};

test("the JSON report has the promised form, and says what failed", () => {
  assert.deepEqual(JSON.parse(reportJson(report)), {
    ok: false,
    nodes: [
      {
        node: "bios-1",
        firmware: "bios",
        stages: [
          { stage: "enroll", seconds: 1 },
          { stage: "deploy", seconds: 61.25 },
        ],
        bytes: 1000,
        mb_s: 99.6,
        failed: { stage: "verify", reason: "no SSH" },
      },
    ],
    seconds: 12.5,
  });
});

test("the table has a row for each stage, bytes and speed at the deployment, and the failed stage last", () => {
  const lines = reportTable(report).split("\n");
  assert.equal(lines.length, 5);
  assert.match(lines[2] ?? "", /^bios-1 +bios +enroll +1\.0$/);
  assert.match(lines[3] ?? "", /^bios-1 +bios +deploy +61\.3 +1000 +100$/);
  assert.match(lines[4] ?? "", /verify FAILED/);
});

test("the speed of an image is its bytes over the time between the first and the last report of its last step", () => {
  const at = (time: number, step: string, bytes: number) => ({
    at: time,
    progress: { step, bytes, total: 9e9, mbPerSecond: 7 },
  });
  assert.deepEqual(streamSummary([]), { bytes: null, mbPerSecond: null });
  assert.deepEqual(streamSummary([at(0, "fetch", 0), at(1000, "write", 0), at(3000, "write", 500_000_000)]), {
    bytes: 500_000_000,
    mbPerSecond: 250,
  });
  assert.equal(streamSummary([at(0, "write", 10)]).mbPerSecond, 7);
});

test("a config drive names the host and carries the key, for root as well", () => {
  const drive = JSON.parse(configDrive({ hostName: "h", publicKey: "ssh-ed25519 AAAA demo" })) as {
    meta_data: unknown;
    user_data: string;
  };
  assert.deepEqual(drive.meta_data, { hostname: "h", name: "h", public_keys: { demo: "ssh-ed25519 AAAA demo" } });
  assert.match(drive.user_data, /^#cloud-config\n/);
  assert.match(drive.user_data, /disable_root: false/);
});

test("the appliance's configuration is written as TOML sections", () => {
  assert.equal(toml({ a: { x: "1", y: '"two"' }, b: { z: "true" } }), '[a]\nx = 1\ny = "two"\n\n[b]\nz = true\n');
});

test("what the CLI says of a failure is its message, or else its text", () => {
  assert.equal(errorWords('noise\n{"error":{"kind":"refused","code":"x","message":"no","detail":{}}}\n'), "no");
  assert.equal(errorWords("error: unknown option\n"), "error: unknown option");
  assert.equal(errorWords(""), undefined);
});
