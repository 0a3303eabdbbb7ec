import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../../src/core/clock.ts";
import { FlapDetector } from "../../../src/mqtt/flap-detector.ts";

test("four short connections within two minutes are too many, long ones are not", async () => {
  const clock = new FakeClock();
  const flaps = new FlapDetector(clock);
  const live = async (duration: number): Promise<boolean> => {
    const since = clock.now();
    await clock.advance(duration);
    return flaps.ended(since);
  };
  assert.deepEqual(
    [await live(1000), await live(30_000), await live(1000), await live(1000), await live(1000)],
    [false, false, false, false, true],
  );
  await clock.advance(120_000);
  assert.equal(await live(1000), false);
});
