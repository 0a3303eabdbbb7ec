import assert from "node:assert/strict";
import {
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
  closeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { SeededRandom } from "../../../src/core/random.ts";
import { writeCount } from "./store-process.ts";
import { checkWhole, errorLog, open } from "./crashed-store.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-damage-"));
after(() => rmSync(root, { recursive: true }));

/** A store with some tables and a log, closed. */
async function aStore(name: string, rounds: number): Promise<string> {
  const directory = join(root, name);
  let count = 0;
  for (let round = 0; round < rounds; round += 1) {
    const store = await open(directory);
    for (let index = 0; index < 60; index += 1) {
      count += 1;
      await writeCount(store, count, "x".repeat(500), true);
    }
    await store[Symbol.asyncDispose]();
  }
  return directory;
}

/** Whatever was done to its files: the store opens, what it shows is whole, it takes new commits, and a second start agrees. */
async function checkUsable(directory: string, note: string): Promise<void> {
  let before: readonly unknown[] = [];
  {
    const store = await open(directory);
    for (const node of store.nodes.list()) {
      assert.equal(node.driverInfo["ipmi_password"], `secret ${Number(node.extra["count"])}`, note);
    }
    for (const entry of await store.history.read(0, 100_000)) assert.equal(entry.seq, entry.data["step"], note);
    const next = store.history.lastSeq + 1;
    await store.commit((tx) => {
      tx.history.append({
        type: "node.state",
        severity: "INFO",
        node: null,
        name: null,
        operation: null,
        data: { step: next },
      });
      const node = tx.nodes.list()[0];
      if (node !== undefined) tx.nodes.put({ ...node, description: "written after the damage" });
    });
    before = [store.history.lastSeq, store.nodes.list(), store.leases.list(), store.commands.unanswered()];
    await store[Symbol.asyncDispose]();
  }
  await using again = await open(directory);
  assert.deepEqual(
    [again.history.lastSeq, again.nodes.list(), again.leases.list(), again.commands.unanswered()],
    before,
    note,
  );
}

test("a log cut at any place leaves a store that opens with what is whole", { timeout: 120_000 }, async () => {
  const original = await aStore("cut", 2);
  const log = readdirSync(original).find((name) => name.endsWith(".log")) ?? assert.fail("no log");
  const { size } = statSync(join(original, log));
  assert.ok(size > 50_000);
  const random = new SeededRandom(20_260_101);
  for (let round = 0; round < 25; round += 1) {
    const directory = join(root, `cut-${round}`);
    cpSync(original, directory, { recursive: true });
    const at = round === 0 ? 0 : random.below(size);
    truncateSync(join(directory, log), at);
    await checkUsable(directory, `cut at ${at}`);
    rmSync(directory, { recursive: true });
  }
});

test("flipped bits in any file leave a store that opens, shows only whole records, and can be written", {
  timeout: 180_000,
}, async () => {
  const original = await aStore("flipped", 3);
  const files = readdirSync(original).filter(
    (name) => /\.(log|ldb)$|^MANIFEST/.test(name) && statSync(join(original, name)).size > 0,
  );
  assert.ok(files.some((name) => name.endsWith(".ldb")) && files.some((name) => name.endsWith(".log")));
  const seed = Date.now() >>> 0;
  const random = new SeededRandom(seed);
  for (let round = 0; round < 45; round += 1) {
    const directory = join(root, `flipped-${round}`);
    cpSync(original, directory, { recursive: true });
    const name = files[round % files.length] ?? "";
    const { size } = statSync(join(directory, name));
    const at = random.below(size);
    const content = readFileSync(join(directory, name));
    const file = openSync(join(directory, name), "r+");
    writeSync(file, Uint8Array.of((content[at] ?? 0) ^ (1 << random.below(8))), 0, 1, at);
    closeSync(file);
    await checkUsable(directory, `seed ${seed}: ${name} of ${size} at ${at}`);
    rmSync(directory, { recursive: true });
  }
});

test("a table cut short, or gone, leaves a store that opens with what is left", { timeout: 60_000 }, async () => {
  const original = await aStore("short", 3);
  const tables = readdirSync(original).filter((name) => name.endsWith(".ldb"));
  for (const [round, part] of [0, 0.02, 0.3, 0.7, 0.99, undefined].entries()) {
    const directory = join(root, `short-${round}`);
    cpSync(original, directory, { recursive: true });
    const table = join(directory, tables[round % tables.length] ?? "");
    if (part === undefined) rmSync(table);
    else truncateSync(table, Math.floor(statSync(table).size * part));
    await checkUsable(directory, `${table} cut to ${part}`);
  }
});

for (const lost of ["CURRENT", "MANIFEST"]) {
  test(`a lost ${lost} is rebuilt from the tables, instead of beginning anew over them`, async () => {
    const directory = await aStore(`lost-${lost}`, 2);
    for (const name of readdirSync(directory)) if (name.startsWith(lost)) rmSync(join(directory, name));
    const log = errorLog();
    {
      await using store = await open(directory, log);
      assert.equal(await checkWhole(store, 0), 120);
    }
    assert.match(log.errors[0] ?? "", /store\.corrupt.*MANIFEST is missing/);
  });
}
