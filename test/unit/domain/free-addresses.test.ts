import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../../../src/core/random.ts";
import { millis } from "../../../src/core/units.ts";
import { FreeAddresses } from "../../../src/domain/free-addresses.ts";

test("names the next address that was not passed over, going round — like a search one by one", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 3);
  const random = new SeededRandom(seed);
  for (const size of [1, 2, 31, 32, 33, 1023, 1024, 1025, 5000]) {
    const free = new FreeAddresses(size);
    const left = new Set(Array.from({ length: size }, (_, at) => at));
    const byOne = (from: number): number | undefined => {
      for (let step = 0; step < size; step += 1) if (left.has((from + step) % size)) return (from + step) % size;
      return undefined;
    };
    while (left.size > 0) {
      for (let look = 0; look < 3; look += 1) {
        const from = random.below(size);
        assert.equal(free.next(from), byOne(from), `seed ${seed}, size ${size}, from ${from}, ${left.size} left`);
      }
      const count = 1 + random.below(Math.ceil(left.size / 8));
      for (let at = 0; at < count; at += 1) {
        const index = free.next(random.below(size));
        if (index === undefined) break;
        free.pass(index);
        left.delete(index);
      }
    }
    assert.equal(free.next(random.below(size)), undefined);
  }
});

test("names all again after a refill, which is not done again at once", () => {
  const free = new FreeAddresses(40);
  for (let index = 0; index < 40; index += 1) free.pass(index);
  assert.equal(free.next(7), undefined);
  assert.ok(free.refill(millis(0)));
  assert.equal(free.next(7), 7);
  free.pass(7);
  assert.ok(!free.refill(millis(500)));
  assert.equal(free.next(7), 8);
  assert.ok(free.refill(millis(1500)));
  assert.equal(free.next(7), 7);
});

test("has nothing to name in a subnet without pools", () => {
  assert.equal(new FreeAddresses(0).next(0), undefined);
});
