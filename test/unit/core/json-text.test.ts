import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json } from "../../../src/core/json.ts";
import { jsonMembers } from "../../../src/core/json-text.ts";
import { SeededRandom } from "../../../src/core/random.ts";

test("writes the members of any object as JSON.stringify does", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 11);
  const random = new SeededRandom(seed);
  const text = (): string =>
    Array.from({ length: random.below(6) }, () =>
      String.fromCharCode(random.below(3) === 0 ? random.below(0x10000) : 32 + random.below(96)),
    ).join("");
  const value = (): Json | undefined => {
    switch (random.below(9)) {
      case 0:
        return undefined;
      case 1:
        return null;
      case 2:
        return random.below(2) === 0;
      case 3:
        return random.below(1_000_000) * (random.below(2) === 0 ? 1 : 2 ** 40) * (random.below(2) === 0 ? 1 : -1e-7);
      case 4:
        return [Number.NaN, Number.POSITIVE_INFINITY, -0, 1e21][random.below(4)] ?? 0;
      case 5:
        return [text(), random.below(9), { inner: text() }];
      default:
        return text();
    }
  };
  for (let round = 0; round < 20_000; round += 1) {
    const object: Record<string, Json | undefined> = {};
    for (let members = random.below(6); members > 0; members -= 1) object[text()] = value();
    assert.equal(`{${jsonMembers(object).slice(1)}}`, JSON.stringify(object), `seed ${seed}, round ${round}`);
  }
});

test("leaves out what an object has only by inheritance", () => {
  const object = Object.create({ inherited: 1 }) as Record<string, Json>;
  object["own"] = "x";
  assert.equal(jsonMembers(object), ',"own":"x"');
});

test("a value is written as it is now, also where the member said the same or something else before", () => {
  const long = "x".repeat(100);
  for (const value of ["a", "a", 'a"', 'a"', "b", "", 3, "b", null, "b", long, "b", long, `${long}y`, "é", "é", "b"])
    assert.equal(jsonMembers({ value }), `,"value":${JSON.stringify(value)}`);
});
