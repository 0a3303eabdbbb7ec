import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isFault } from "../../../src/core/fault.ts";
import { LineSplitter } from "../../../src/protocol/line-splitter.ts";

test("lines come out the same however the bytes are cut, also within a character", () => {
  const line = fc.string({ unit: "grapheme" }).map((text) => text.replaceAll(/[\r\n]/g, ""));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), (lines, sizes) => {
      const bytes = Buffer.from(lines.map((one) => `${one}\n`).join(""));
      const splitter = new LineSplitter(10_000);
      const out: string[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        out.push(...splitter.push(bytes.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(out, lines);
    }),
  );
});

test("a carriage return before the line's end is dropped", () => {
  assert.deepEqual(new LineSplitter(100).push(Buffer.from("a\r\nb\n")), ["a", "b"]);
});

test("a line beyond the limit is refused, whether it ends or not", () => {
  for (const text of ["12345", "12345\n"]) {
    assert.throws(
      () => new LineSplitter(4).push(Buffer.from(text)),
      (error) => isFault(error) && error.code === "line.long",
    );
  }
  const splitter = new LineSplitter(4);
  splitter.push(Buffer.from("123"));
  assert.throws(() => splitter.push(Buffer.from("45")), isFault);
});

test("what is held is a copy", () => {
  const splitter = new LineSplitter(100);
  const chunk = Buffer.from("abc");
  splitter.push(chunk);
  chunk.fill(0);
  assert.deepEqual(splitter.push(Buffer.from("d\n")), ["abcd"]);
});
