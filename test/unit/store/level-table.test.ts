import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Level } from "level";
import { checkTable } from "../../../src/store/level-table.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-table-"));
after(() => rmSync(root, { recursive: true }));
let table = Buffer.alloc(0);
const MANY = 400;

before(async () => {
  const directory = join(root, "made");
  const database = new Level<string, string>(directory, { compression: false });
  await database.batch(
    Array.from({ length: MANY }, (_, index) => ({
      type: "put" as const,
      key: `node/${String(index).padStart(6, "0")}`,
      value: `${index} `.repeat(40),
    })),
  );
  await database.close();
  await database.open(); // makes a table of the log
  await database.close();
  const name = readdirSync(directory).find((file) => file.endsWith(".ldb")) ?? assert.fail("no table");
  table = readFileSync(join(directory, name));
});

function flipped(at: number, bit = 1): Buffer {
  const copy = Buffer.from(table);
  copy[at] = (copy[at] ?? 0) ^ bit;
  return copy;
}

test("a table as LevelDB writes it is sound", () => {
  assert.deepEqual(checkTable(table), { kind: "sound" });
});

test("one wrong bit anywhere is found, and costs at most the block in which it is", () => {
  const blocks = new Set<number>();
  for (let at = 0; at < table.length; at += at < table.length - 400 ? 17 : 1) {
    const check = checkTable(flipped(at, 1 << (at % 8)));
    if (check.kind === "sound") {
      // Between the handles and the magic number the footer is filled with zeroes that mean nothing.
      assert.ok(at >= table.length - 48, `byte ${at} of ${table.length}`);
      continue;
    }
    assert.ok(check.kind === "mended", `byte ${at} of ${table.length}`);
    assert.ok(check.lost <= 1);
    blocks.add(check.kept + check.lost);
    assert.equal(check.table.length, table.length);
    if (at % 97 === 0) assert.deepEqual(checkTable(check.table), { kind: "sound" });
  }
  assert.equal(blocks.size, 1); // whatever is damaged, all blocks are found: also without the index
  assert.ok([...blocks].every((count) => count > 10));
});

test("LevelDB reads a mended table, without the keys of the lost block", async () => {
  for (const at of [100, Math.floor(table.length / 2), table.length - 4, table.length - 60]) {
    const directory = join(root, `mended-${at}`);
    const check = checkTable(flipped(at, 255));
    assert.ok(check.kind === "mended");
    const fresh = new Level<string, string>(directory, { compression: false });
    await fresh.batch(
      Array.from({ length: MANY }, (_, index) => ({
        type: "put" as const,
        key: `node/${String(index).padStart(6, "0")}`,
        value: `${index} `.repeat(40),
      })),
    );
    await fresh.close();
    await fresh.open();
    await fresh.close();
    const name = readdirSync(directory).find((file) => file.endsWith(".ldb")) ?? assert.fail("no table");
    writeFileSync(join(directory, name), check.table);
    await fresh.open();
    const found = await fresh.iterator().all();
    assert.ok(
      check.lost === 0 ? found.length === MANY : found.length < MANY && found.length > MANY - 60,
      `${found.length}`,
    );
    for (const [key, value] of found) assert.equal(value, `${Number(key.slice(5))} `.repeat(40));
    await fresh.close();
  }
});

test("a table cut short or of zeroes has nothing to be mended", () => {
  assert.deepEqual(checkTable(Buffer.alloc(0)), { kind: "unreadable" });
  assert.deepEqual(checkTable(Buffer.alloc(5000)), { kind: "unreadable" });
  assert.deepEqual(checkTable(table.subarray(0, 47)), { kind: "unreadable" });
});
