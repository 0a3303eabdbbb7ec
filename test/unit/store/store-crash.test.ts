import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
  closeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { SystemClock } from "../../../src/core/clock.ts";
import type { Fault } from "../../../src/core/fault.ts";
import { type Log, silentLog } from "../../../src/core/log.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import type { Store } from "../../../src/domain/store.ts";
import { openStore } from "../../../src/store/level-store.ts";
import { aLease, aUuid } from "../../conformance/store-contract.ts";
import { slots, storeKey, writeCount } from "./store-process.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-crash-"));
after(() => rmSync(root, { recursive: true }));
const program = join(dirname(fileURLToPath(import.meta.url)), "store-process.js");

function open(directory: string, log: Log = silentLog): Promise<Store & AsyncDisposable> {
  return openStore({ directory, clock: new SystemClock(), log, key: storeKey });
}

function errorLog(): Log & { readonly errors: string[] } {
  const errors: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (event: string, fields?: object) => void errors.push(`${event} ${JSON.stringify(fields)}`),
    with: () => log,
    errors,
  };
  return log;
}

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

/** Every place holds the last number that was written to it, the history all of them. */
async function checkWhole(store: Store, from: number): Promise<number> {
  const last = store.history.lastSeq;
  const entries = await store.history.read(from, Number.MAX_SAFE_INTEGER);
  assert.deepEqual(
    entries.map((entry) => [entry.seq, entry.data["step"]]),
    Array.from({ length: last - from }, (_, index) => [from + 1 + index, from + 1 + index]),
  );
  for (let count = Math.max(1, last - slots + 1); count <= last; count += 1) {
    const slot = count % slots;
    assert.equal(store.nodes.get(aUuid(slot))?.extra["count"], count);
    assert.equal(store.nodes.get(aUuid(slot))?.driverInfo["ipmi_password"], `secret ${count}`);
    assert.equal(store.leases.byAddress(aLease(slot).address)?.hostname, String(count));
    assert.equal((await store.inventory.get(aUuid(slot)))?.["count"], count);
    assert.ok(store.commands.get(String(count)));
  }
  return last;
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
    const child = spawn(process.execPath, [program, "write", directory], { stdio: ["ignore", "pipe", "inherit"] });
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
    "bash",
    ["-c", `ulimit -S -f 600; exec "$0" "$@"`, process.execPath, program, "fill", directory],
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
  const lines: string[] = [];
  const promised = await runUntil(child, (line) => {
    lines.push(line);
    if (line.startsWith("refused")) {
      const pid = execFileSync("pgrep", ["-P", String(child.pid)], { encoding: "utf8" }).trim();
      execFileSync("nsenter", ["--mount", "-t", pid, "rm", join(mount, "ballast")]);
    }
    return line === "closed";
  });
  if (child.exitCode === null) await once(child, "exit");
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

for (const [title, wrapper] of [
  ["another process", []],
  ["a process of another network namespace", ["unshare", "--net"]],
] as const) {
  test(`the store is refused while ${title} has it, and free once that is killed`, {
    timeout: 60_000,
    skip: isRoot || wrapper.length === 0 ? false : "needs root",
  }, async () => {
    const directory = join(root, `held-${wrapper.length}`);
    const [command = "", ...args] = [...wrapper, process.execPath, program, "fill", directory];
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
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
