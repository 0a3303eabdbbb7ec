import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Fault } from "../../../src/core/fault.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { checkWhole, errorLog, open } from "./crashed-store.ts";
import { boundToUs } from "../../bound-to-us.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-crash-"));
after(() => rmSync(root, { recursive: true }));
const program = join(dirname(fileURLToPath(import.meta.url)), "store-process.js");

/** The last number that was promised, as the process's lines tell it. */
async function runUntil(child: ChildProcess, end: (line: string) => boolean): Promise<number> {
  let promised = 0;
  const { stdout } = child;
  assert.ok(stdout !== null);
  for await (const line of createInterface({ input: stdout })) {
    const [word, count] = line.split(" ");
    if (word === "done") promised = Math.max(promised, Number(count));
    if (end(line)) break;
  }
  return promised;
}

const ROUNDS = Number(process.env["IRONRACK_KILL_ROUNDS"] ?? 15);

test(`kill -9 at any moment loses nothing that was promised and tears nothing (${ROUNDS} rounds)`, {
  timeout: 30_000 + ROUNDS * 5_000,
}, async () => {
  const directory = join(root, "killed");
  const seed = Date.now() >>> 0;
  const random = new SeededRandom(seed);
  let checked = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const child = spawn(...boundToUs(process.execPath, program, "write", directory), {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = random.below(120);
    let seen = 0;
    let timer: NodeJS.Timeout | undefined;
    // Killed after a number of lines, or a random moment later: between two commits or in the middle of one.
    const promised = await runUntil(child, () => {
      seen += 1;
      if (seen === lines + 1) timer = setTimeout(() => child.kill("SIGKILL"), random.below(4));
      return false;
    });
    clearTimeout(timer);
    const log = errorLog();
    await using store = await open(directory, log);
    assert.ok(store.history.lastSeq >= promised, `seed ${seed}: ${promised} promised, ${store.history.lastSeq} there`);
    checked = await checkWhole(store, checked);
    assert.deepEqual(log.errors, [], `seed ${seed}`);
  }
  assert.ok(checked > ROUNDS * 20);
});

test("a file system that refuses to grow files fails the commit, changes nothing, and writing goes on once there is room", {
  timeout: 60_000,
}, async () => {
  const directory = join(root, "limited");
  const child = spawn(
    ...boundToUs("bash", "-c", `ulimit -S -f 600; exec "$0" "$@"`, process.execPath, program, "fill", directory),
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const lines: string[] = [];
  const promised = await runUntil(child, (line) => {
    lines.push(line);
    if (line.startsWith("refused")) execFileSync("prlimit", ["--pid", String(child.pid), "--fsize=unlimited"]);
    return line === "closed";
  });
  assert.ok(
    lines.some((line) => line.startsWith("refused storage")) && lines.some((line) => line.startsWith("again")),
    lines.slice(-3).join(),
  );
  assert.equal(lines.includes("changed"), false);
  const log = errorLog();
  await using store = await open(directory, log);
  assert.equal(await checkWhole(store, 0), promised);
  assert.deepEqual(log.errors, []);
});

const isRoot = process.getuid?.() === 0;

test("a full disk fails the commit, what was refused does not come back, and writing goes on once there is room", {
  timeout: 60_000,
  skip: isRoot ? false : "needs root to mount a tmpfs in a namespace of its own",
}, async () => {
  const mount = join(root, "full");
  mkdirSync(mount);
  // Seen by the process alone, and copied out before it vanishes with it. Opening again needs room for the log as a table.
  const script = `mount -t tmpfs -o size=5m none "$0" && head -c 3000000 /dev/zero > "$0/ballast" && "$@"; cp -r "$0/store" "$0.copy"`;
  const child = spawn(
    "unshare",
    ["--mount", "sh", "-c", script, mount, process.execPath, program, "fill", join(mount, "store")],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const ended = once(child, "exit");
  const lines: string[] = [];
  const promised = await runUntil(child, (line) => {
    lines.push(line);
    if (line.startsWith("refused")) {
      const pid = execFileSync("pgrep", ["-P", String(child.pid)], { encoding: "utf8" }).trim();
      execFileSync("nsenter", ["--mount", "-t", pid, "rm", join(mount, "ballast")]);
    }
    return line === "closed";
  });
  await ended;
  assert.ok(
    lines.some((line) => line.startsWith("refused storage")) && lines.some((line) => line.startsWith("again")),
    lines.slice(-3).join(),
  );
  assert.equal(lines.includes("changed"), false);
  const log = errorLog();
  await using store = await open(`${mount}.copy`, log);
  assert.equal(await checkWhole(store, 0), promised);
  assert.deepEqual(log.errors, []);
});

for (const [title, wrapper] of [
  ["another process", []],
  ["a process of another network namespace", ["unshare", "--net"]],
] as const) {
  test(`the store is refused while ${title} has it, and free once that is killed`, {
    timeout: 60_000,
    skip: isRoot || wrapper.length === 0 ? false : "needs root",
  }, async () => {
    const directory = join(root, `held-${wrapper.length}`);
    const [command, ...args] = [...wrapper, process.execPath, program, "fill", directory] as const;
    const child = spawn(...boundToUs(command, ...args), { stdio: ["pipe", "pipe", "inherit"] });
    await runUntil(child, (line) => line.startsWith("done 3"));
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await assert.rejects(open(directory), (error: Fault) => error.kind === "busy" && error.code === "store.in-use");
    }
    child.kill("SIGKILL");
    await once(child, "exit");
    await using store = await open(directory);
    assert.ok((await checkWhole(store, 0)) >= 3);
  });
}

test("a directory that holds something else is not taken over", async () => {
  const directory = join(root, "file");
  writeFileSync(directory, "a file");
  await assert.rejects(open(directory), (error: Fault) => error.kind === "storage");
});
