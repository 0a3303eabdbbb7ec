import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock, SystemClock } from "../../../src/core/clock.ts";
import { Fault, isFault } from "../../../src/core/fault.ts";
import { millis } from "../../../src/core/units.ts";

for (const [name, clock] of [
  ["SystemClock", new SystemClock()],
  ["FakeClock", new FakeClock()],
] as const) {
  const move = async (): Promise<void> => {
    if (clock instanceof FakeClock) await clock.advance(50);
  };

  test(`${name}: a deadline aborts with a timeout fault`, async () => {
    using deadline = clock.deadline(millis(5));
    const rejected = assert.rejects(
      clock.sleep(millis(10_000), deadline.signal),
      (error) => isFault(error) && error.kind === "timeout",
    );
    await move();
    await rejected;
  });

  test(`${name}: an aborted sleep ends with the reason and leaves no timer`, async () => {
    const controller = new AbortController();
    const rejected = assert.rejects(
      clock.sleep(millis(10_000), controller.signal),
      (error) => isFault(error) && error.code === "test",
    );
    controller.abort(new Fault("cancelled", "test", "test"));
    await rejected;
    if (clock instanceof FakeClock) assert.equal(clock.pending, 0);
  });

  test(`${name}: a deadline follows its parent`, () => {
    const parent = new AbortController();
    using deadline = clock.deadline(millis(10_000), parent.signal);
    parent.abort(new Fault("cancelled", "parent", "parent"));
    assert.equal(deadline.signal.aborted, true);
  });
}

test("FakeClock fires what is due in the order of time", async () => {
  const clock = new FakeClock();
  const fired: string[] = [];
  clock.after(millis(20), () => fired.push("b"));
  clock.after(millis(10), () => {
    fired.push("a");
    clock.after(millis(5), () => fired.push("a2"));
  });
  clock.after(millis(30), () => fired.push("c"));
  await clock.advance(25);
  assert.deepEqual(fired, ["a", "a2", "b"]);
  assert.equal(clock.now(), 25);
});
