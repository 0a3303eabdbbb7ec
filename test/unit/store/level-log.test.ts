import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Level } from "level";
import { readLog, writeLog } from "../../../src/store/level-log.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-log-"));
after(() => rmSync(root, { recursive: true }));

const lengths = [0, 1, 32_761, 32_760, 7, 32_754, 100_000, 5, 65_000];
const records = lengths.map((length, index) => Buffer.alloc(length, index + 1));

test("what is written is read, wherever blocks end", () => {
  assert.deepEqual(readLog(writeLog(records)), { records, damaged: false });
  for (let length = 32_740; length < 32_780; length += 1) {
    const two = [Buffer.alloc(length, 1), Buffer.alloc(20, 2)];
    assert.deepEqual(readLog(writeLog(two)), { records: two, damaged: false });
  }
});

test("one wrong byte costs records of its block only, and is told", () => {
  const small = Array.from({ length: 3000 }, (_, index) => Buffer.alloc(50, index & 255));
  const log = writeLog(small);
  for (let at = 0; at < log.length; at += 211) {
    const copy = Buffer.from(log);
    copy[at] = (copy[at] ?? 0) ^ 4;
    const { records: left, damaged } = readLog(copy);
    const inFill = 32_768 - (at % 32_768) < 7;
    assert.ok(damaged || inFill, String(at));
    assert.ok(left.length > small.length - 32_768 / 57 - 2 && left.every((record) => record.length === 50));
  }
});

test("LevelDB's own log is read, written anew byte for byte, and LevelDB reads that", async () => {
  const directory = join(root, "database");
  const database = new Level<string, string>(directory, { compression: false });
  for (let index = 0; index < 100; index += 1) await database.put(`key ${index}`, "x".repeat(index * 40));
  await database.close();
  const name = readdirSync(directory).find((file) => file.endsWith(".log")) ?? assert.fail("no log");
  const log = readFileSync(join(directory, name));
  const read = readLog(log);
  assert.equal(read.records.length, 100);
  assert.equal(read.damaged, false);
  assert.ok(writeLog(read.records).equals(log));
  writeFileSync(join(directory, name), writeLog(read.records.slice(10)));
  await database.open();
  assert.equal((await database.keys().all()).length, 90);
  await database.close();
});
