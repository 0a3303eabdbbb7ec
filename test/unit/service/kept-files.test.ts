import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FakeClock } from "../../../src/core/clock.ts";
import type { BootFile } from "../../../src/service/boot-file.ts";
import { KeptFiles } from "../../../src/service/kept-files.ts";

const directory = mkdtempSync(join(tmpdir(), "ironrack-kept-"));
after(() => rmSync(directory, { recursive: true, force: true }));

function make(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

async function textOf(file: BootFile | null): Promise<string | null> {
  if (file === null) return null;
  await using lent = file;
  return Buffer.from(await lent.read(0, lent.size)).toString();
}

test("a file that is asked for again is the one that is open, until another takes its place or it is written to", async () => {
  await using kept = new KeptFiles(new FakeClock());
  const path = make("kernel", "first");
  const place = { path, root: null };
  const first = await kept.open(place);
  const again = await kept.open(place);
  assert.equal(again?.handle, first?.handle);
  writeFileSync(path, "written to");
  assert.equal(await textOf(await kept.open(place)), "written to");
  renameSync(make("new", "another"), path);
  assert.equal(await textOf(await kept.open(place)), "another");
  rmSync(path);
  assert.equal(await kept.open(place), null);
  // What was lent out before can be read to its end.
  assert.equal(await textOf(again), "writt");
  assert.notEqual(first?.handle?.fd, -1);
  await first?.[Symbol.asyncDispose]();
  assert.equal(first?.handle?.fd, -1);
});

test("those who ask at the same time share one open file, which closes when it was left alone for a while", async () => {
  const clock = new FakeClock();
  await using kept = new KeptFiles(clock);
  const place = { path: make("initrd", "x"), root: null };
  const lent = await Promise.all(Array.from({ length: 64 }, () => kept.open(place)));
  const [handle] = new Set(lent.map((file) => file?.handle));
  assert.equal(new Set(lent.map((file) => file?.handle)).size, 1);
  await clock.advance(60_000);
  assert.notEqual(handle?.fd, -1);
  for (const file of lent) await file?.[Symbol.asyncDispose]();
  assert.notEqual(handle?.fd, -1);
  await clock.advance(40_000);
  assert.equal(handle?.fd, -1);
  assert.equal(clock.pending, 0);
});

test("only so many files stay open", async () => {
  await using kept = new KeptFiles(new FakeClock());
  const handles = [];
  for (let each = 0; each < 40; each += 1) {
    await using file = await kept.open({ path: make(`loader${each}`, "x"), root: null });
    handles.push(file?.handle);
  }
  assert.equal(handles.slice(8).filter((handle) => handle?.fd === -1).length, 0);
  assert.equal(handles.slice(0, 8).filter((handle) => handle?.fd !== -1).length, 0);
});

test("a link that comes to lead out of the root is not followed, though its file was open", async () => {
  await using kept = new KeptFiles(new FakeClock());
  const root = join(directory, "root");
  mkdirSync(root);
  make("root/inside", "inside");
  const outside = make("outside", "outside");
  const path = join(root, "link");
  symlinkSync(join(root, "inside"), path);
  assert.equal(await textOf(await kept.open({ root, path })), "inside");
  rmSync(path);
  symlinkSync(outside, path);
  assert.equal(await kept.open({ root, path }), null);
  assert.equal(await textOf(await kept.open({ root: null, path })), "outside");
});
