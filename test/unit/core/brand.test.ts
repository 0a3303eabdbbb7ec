import assert from "node:assert/strict";
import { test } from "node:test";
import { ipv4FromNumber, ipv4ToNumber, macAddressFromBytes, macAddressToBytes } from "../../../src/core/brand.ts";
import { SeededRandom } from "../../../src/core/random.ts";

test("an address is named rightly whichever were named before it", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 1e6);
  const random = new SeededRandom(seed);
  // Few enough that each comes again, and more than are remembered at once.
  const numbers = Array.from({ length: 5000 }, () => random.below(2 ** 32));
  for (let round = 0; round < 20_000; round += 1) {
    const number = numbers[random.below(numbers.length)] ?? 0;
    const octets = [24, 16, 8, 0].map((shift) => (number >>> shift) & 255);
    assert.equal(ipv4FromNumber(number), octets.join("."), `seed ${seed}`);
    assert.equal(ipv4ToNumber(ipv4FromNumber(number)), number, `seed ${seed}`);
    const bytes = Uint8Array.of(82, number & 3, ...octets);
    const hex = Buffer.from(bytes).toString("hex");
    assert.equal(macAddressFromBytes(bytes).replaceAll(":", ""), hex, `seed ${seed}`);
    assert.deepEqual(macAddressToBytes(macAddressFromBytes(bytes)), bytes, `seed ${seed}`);
  }
});
