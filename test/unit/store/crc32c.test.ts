import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c } from "../../../src/store/crc32c.ts";

test("the sums are those of the standard's examples — RFC 3720 §B.4", () => {
  const counting = Uint8Array.from({ length: 32 }, (_, index) => index);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
  assert.equal(crc32c(counting), 0x46dd794e);
  assert.equal(crc32c(counting.toReversed()), 0x113fdb5c);
});

test("a sum goes on from that of what came before, wherever the cut is", () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, index) => (index * 37) & 255);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    assert.equal(crc32c(bytes, cut, bytes.length, crc32c(bytes, 0, cut)), crc32c(bytes), String(cut));
  }
});
