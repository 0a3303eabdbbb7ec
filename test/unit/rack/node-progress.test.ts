import assert from "node:assert/strict";
import { test } from "node:test";
import { applyEvent, clockText, newNodeProgress, progressLine, streamText } from "../../rack/node-progress.ts";

const fresh = newNodeProgress("bios-1", "bios");
const event = (type: string, data: Record<string, string | number>) => ({ type, name: "bios-1", data });

test("a state event moves the state and ends the bar", () => {
  const streaming = applyEvent(
    fresh,
    event("node.step.progress", { step: "deploy.write_image", bytes: 5, total: 10, mb_s: 3 }),
  );
  assert.equal(streaming.stream?.bytes, 5);
  const moved = applyEvent(streaming, event("node.state", { from: "deploying", to: "wait call-back" }));
  assert.equal(moved.state, "wait call-back");
  assert.equal(moved.stream, undefined);
});

test("a step shows from its start to its end", () => {
  const begun = applyEvent(fresh, event("node.step.started", { step: "deploy.write_image" }));
  assert.equal(begun.step, "deploy.write_image");
  assert.equal(applyEvent(begun, event("node.step.done", { step: "deploy.write_image" })).step, "");
});

test("an event of a type that this program does not know changes nothing", () => {
  assert.deepEqual(applyEvent(fresh, event("node.something", { to: "x" })), fresh);
});

test("elapsed time reads like a clock", () => {
  assert.equal(clockText(0), "0:00");
  assert.equal(clockText(65.9), "1:05");
  assert.equal(clockText(3600), "1:00:00");
  assert.equal(clockText(36_125), "10:02:05");
});

test("the bar is empty before the size is known, half full at half, and never overfull", () => {
  const stream = { step: "s", mbPerSecond: 200.4 };
  assert.equal(streamText({ ...stream, bytes: 0, total: 0 }, 4), "[....]   0 % 0/0 MiB 200 MB/s");
  assert.equal(streamText({ ...stream, bytes: 2 ** 20, total: 2 ** 21 }, 4), "[##..]  50 % 1/2 MiB 200 MB/s");
  assert.equal(streamText({ ...stream, bytes: 2 ** 22, total: 2 ** 21 }, 4), "[####] 100 % 4/2 MiB 200 MB/s");
});

test("a line never exceeds the terminal's width", () => {
  const node = applyEvent(
    { ...fresh, stage: "deploy" },
    event("node.step.progress", { step: "deploy.write_image", bytes: 5, total: 10, mb_s: 3 }),
  );
  for (const width of [20, 60, 79]) assert.ok(progressLine(node, 100, width).length <= width);
  assert.match(progressLine(node, 100, 200), /^bios-1 +deploy +1:40 +- +deploy\.write_image +\[#+\.+\]/);
});
