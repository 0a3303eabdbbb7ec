import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { boundToUs } from "../../bound-to-us.ts";

const MIB = 2 ** 20;

const root = mkdtempSync(join(tmpdir(), "ironrack-full-"));
chmodSync(root, 0o755); // qemu-img is nobody
after(() => rmSync(root, { recursive: true }));

/** What one scene of full-disk-child.ts tells. */
interface Told {
  readonly scene: string;
  /** Of the fault, or "" when the image was had. */
  readonly code: string;
  readonly retry: string;
  /** The fault's sentence, or the size of the image. */
  readonly words: string;
  /** What lies on the shelf afterwards. */
  readonly shelf: readonly string[];
}

test("a disk that fills up in the middle of a conversion or a download fails it by name, and what nobody uses makes room", {
  timeout: 120_000,
  skip: process.getuid?.() === 0 ? false : "needs root to mount a tmpfs in a namespace of its own",
}, async () => {
  const mount = join(root, "small");
  mkdirSync(mount);
  writeFileSync(join(root, "disk.raw"), randomBytes(24 * MIB));
  execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "vmdk", join(root, "disk.raw"), join(root, "disk.vmdk")]);
  // The file system is seen by the process alone, and vanishes with it.
  const script = 'mount -t tmpfs -o size=96m none "$0" && exec "$@"';
  const child = spawn(
    ...boundToUs(
      "unshare",
      "--mount",
      "sh",
      "-c",
      script,
      mount,
      process.execPath,
      join(import.meta.dirname, "full-disk-child.js"),
      root,
    ),
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const ended = once(child, "exit");
  const told = new Map<string, Told>();
  for await (const line of createInterface(child.stdout)) {
    const one = JSON.parse(line) as Told;
    told.set(one.scene, one);
  }
  await ended;
  assert.equal(child.exitCode, 0);

  const of = (scene: string): Told => told.get(scene) ?? assert.fail(`the scene "${scene}" was not played`);
  assert.deepEqual([of("first download").code, of("first download").shelf], ["", ["url"]]);

  const full = of("conversion into a full disk");
  assert.equal(full.code, "image.space", full.words);
  assert.equal(full.retry, "never");
  assert.match(full.words, /has no room.*image\.cache_size/);
  assert.deepEqual(full.shelf, ["url"], "a draft was left, or an image lost");

  const again = of("conversion again");
  assert.equal(again.code, "", again.words);
  assert.deepEqual(again.shelf, ["vmdk"], "the image that nobody uses has made room");

  const held = of("download into a full disk");
  assert.equal(held.code, "image.space", held.words);
  assert.deepEqual(held.shelf, ["vmdk"], "a draft was left, or an image that is in use lost");

  const freed = of("download again");
  assert.equal(freed.code, "", freed.words);
  assert.deepEqual(freed.shelf, ["url"], "the image that nobody uses any more has made room");
});
