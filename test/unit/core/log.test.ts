import assert from "node:assert/strict";
import { test } from "node:test";
import { openLog } from "../../../src/core/log.ts";

function recording(level: "debug" | "info" | "warn", journal = false) {
  const lines: string[] = [];
  const log = openLog({ level, journal, stream: { write: (line) => void lines.push(line) } });
  return { log, lines };
}

test("a line is one JSON object with level, time and event first, and no field that is undefined", () => {
  const { log, lines } = recording("info");
  log.info("daemon.ready");
  log.info("dhcp.answered", { mac: "52:54:00:00:00:01", node: undefined, reason: 'a "quoted"\nline', attempt: 2 });
  log.info("dhcp.silent", { node: undefined });
  assert.deepEqual(
    lines.map((line) => Object.keys(JSON.parse(line) as object)),
    [
      ["level", "time", "event"],
      ["level", "time", "event", "mac", "reason", "attempt"],
      ["level", "time", "event"],
    ],
  );
  const answered = JSON.parse(lines[1] ?? "") as Record<string, unknown>;
  assert.equal(answered["reason"], 'a "quoted"\nline');
  assert.match(String(answered["time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(lines.every((line) => line.indexOf("\n") === line.length - 1));
});

test("what is below the level is not written; fields given once stand in every line, before its own", () => {
  const { log, lines } = recording("warn");
  const part = log.with({ node: "a" }).with({ interface: "eth1" });
  part.debug("daemon.ready");
  part.info("daemon.ready");
  part.warn("dhcp.failed", { reason: "why" });
  assert.equal(lines.length, 1);
  assert.deepEqual(Object.entries(JSON.parse(lines[0] ?? "") as object).slice(2), [
    ["node", "a"],
    ["interface", "eth1"],
    ["event", "dhcp.failed"],
    ["reason", "why"],
  ]);
});

test("for the journal each line begins with its priority — sd-daemon(3)", () => {
  const { log, lines } = recording("debug", true);
  log.debug("daemon.ready");
  log.info("daemon.ready");
  log.warn("daemon.ready");
  log.error("daemon.bug", {}, new Error("broken"));
  assert.deepEqual(
    lines.map((line) => line.slice(0, 4)),
    ["<7>{", "<6>{", "<4>{", "<3>{"],
  );
  const { stack } = JSON.parse((lines[3] ?? "").slice(3)) as { readonly stack: string };
  assert.match(stack, /^Error: broken\n/);
});
