import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../../../src/core/random.ts";
import { millis, seconds } from "../../../src/core/units.ts";
import { BackOff } from "../../../src/net/back-off.ts";

test("waits double up to the longest, each between half and the whole, and begin anew after a reset", () => {
  const backOff = new BackOff({ first: millis(1000), longest: seconds(60), random: new SeededRandom(7) });
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const whole = Math.min(60_000, 1000 * 2 ** Math.min(attempt, 30));
    const wait = backOff.next();
    assert.ok(wait >= whole / 2 && wait <= whole, `${attempt}: ${wait}`);
  }
  backOff.reset();
  assert.ok(backOff.next() <= 1000);
});

test("many clients do not come back together", () => {
  const waits = Array.from({ length: 100 }, (_, seed) =>
    new BackOff({ first: seconds(10), longest: seconds(60), random: new SeededRandom(seed) }).next(),
  );
  assert.ok(new Set(waits).size > 80);
});
