import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLine } from "../../rack/daemon.ts";

test("a log line is read with and without journald's prefix", () => {
  assert.deepEqual(parseLine('{"event":"daemon.ready"}'), { event: "daemon.ready" });
  assert.deepEqual(parseLine('<6>{"event":"daemon.ready"}'), { event: "daemon.ready" });
});

test("text that is not a line of the log is passed over, half a line too", () => {
  assert.equal(parseLine("Error: something { odd }"), undefined);
  assert.equal(parseLine('{"event":"daem'), undefined);
});
