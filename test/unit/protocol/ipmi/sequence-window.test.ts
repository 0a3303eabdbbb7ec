import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../../../../src/core/random.ts";
import { acceptSequence, emptyWindow, type SequenceWindow } from "../../../../src/protocol/ipmi/sequence-window.ts";

function feed(numbers: readonly number[]): (number | undefined)[] {
  let window: SequenceWindow = emptyWindow;
  return numbers.map((number) => {
    const next = acceptSequence(window, number);
    window = next ?? window;
    return next === undefined ? undefined : number;
  });
}

test("numbers are accepted in order, out of order within the window, and once each", () => {
  assert.deepEqual(feed([1, 2, 3]), [1, 2, 3]);
  assert.deepEqual(feed([5, 3, 4, 3, 5, 6]), [5, 3, 4, undefined, undefined, 6]);
});

test("zero is never accepted — IPMI 2.0 §6.12.12", () => {
  assert.deepEqual(feed([0, 1, 0]), [undefined, 1, undefined]);
});

test("a number older than the window is not accepted, a jump forward is", () => {
  assert.deepEqual(feed([40, 9, 8, 1000, 999]), [40, 9, undefined, 1000, 999]);
});

test("numbers go on from FFFFFFFFh to 1", () => {
  assert.deepEqual(feed([0xfffffffe, 0xffffffff, 1, 0xffffffff, 2]), [0xfffffffe, 0xffffffff, 1, undefined, 2]);
});

test("no number is ever accepted twice, whatever the order", () => {
  const seed = 20261121;
  console.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 200; round += 1) {
    const numbers = Array.from({ length: 200 }, (_, index) => 1 + Math.max(0, index - random.below(40)));
    const accepted = feed(numbers).filter((number) => number !== undefined);
    assert.equal(new Set(accepted).size, accepted.length);
    assert.ok(accepted.length > 50);
  }
});
