import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteReader } from "../../../src/core/byte-reader.ts";
import { ByteWriter } from "../../../src/core/byte-writer.ts";
import { MalformedFault } from "../../../src/core/fault.ts";

const bytes = new ByteWriter(4)
  .u8(0x12)
  .u16(0x3456)
  .u16LE(0x3456)
  .u32(0xdeadbeef)
  .u32LE(0xdeadbeef)
  .i32(-2)
  .u64(0x0102030405060708n)
  .cString("pxe")
  .fixed("name", "ab", 4)
  .zeroes(2)
  .toBytes();

function readAll(reader: ByteReader): unknown[] {
  return [
    reader.u8("a"),
    reader.u16("b"),
    reader.u16LE("c"),
    reader.u32("d"),
    reader.u32LE("e"),
    reader.i32("f"),
    reader.u64("g"),
    reader.cString("h"),
    reader.latin1("i", 4),
    reader.bytes("j", 2),
  ];
}

test("what the writer writes the reader reads", () => {
  const reader = new ByteReader(bytes);
  assert.deepEqual(readAll(reader), [
    0x12,
    0x3456,
    0x3456,
    0xdeadbeef,
    0xdeadbeef,
    -2,
    0x0102030405060708n,
    "pxe",
    "ab",
    new Uint8Array(2),
  ]);
  reader.expectEnd("end");
});

test("every shortage is a fault that names field and place, at every length", () => {
  for (let length = 0; length < bytes.length; length += 1) {
    assert.throws(() => readAll(new ByteReader(bytes.subarray(0, length))), MalformedFault, `${length} bytes`);
  }
});

test("a sub-reader ends where it was told, whatever follows", () => {
  const reader = new ByteReader(bytes);
  const sub = reader.sub("options", 3);
  sub.u16("first");
  assert.throws(
    () => sub.u16("second"),
    (error) => error instanceof MalformedFault && error.field === "second" && error.need === 2 && error.have === 1,
  );
  assert.equal(reader.offset, 3);
});

test("what is read is a copy", () => {
  const source = Buffer.of(1, 2, 3);
  const copy = new ByteReader(source).bytes("all", 3);
  source[0] = 9;
  assert.equal(copy[0], 1);
});

test("bytes after the end are a fault", () => {
  assert.throws(() => new ByteReader(bytes).expectEnd("packet"), MalformedFault);
});
