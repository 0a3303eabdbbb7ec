import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Level } from "level";
import { type Clock, FakeClock } from "../../../src/core/clock.ts";
import type { Fault } from "../../../src/core/fault.ts";
import { type Log, type LogFields, silentLog } from "../../../src/core/log.ts";
import type { Store } from "../../../src/domain/store.ts";
import { openStore, type StoreOptions } from "../../../src/store/level-store.ts";
import type { Migration } from "../../../src/store/migrations.ts";
import { readStoreKey } from "../../../src/store/seal.ts";
import {
  aCommand,
  aLease,
  aNode,
  aPort,
  aTime,
  aUuid,
  anEntry,
  storeContract,
} from "../../conformance/store-contract.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-store-"));
after(() => rmSync(root, { recursive: true }));
let made = 0;
const key = new Uint8Array(32).fill(7);

function aDirectory(): string {
  made += 1;
  return join(root, String(made), "store");
}

function open(directory: string, options: Partial<StoreOptions> = {}): Promise<Store & AsyncDisposable> {
  return openStore({ directory, clock: new FakeClock(), log: silentLog, key, ...options });
}

/** A log whose errors and warnings can be looked at. */
function aLog(): Log & { readonly lines: { readonly event: string; readonly fields: LogFields }[] } {
  const lines: { event: string; fields: LogFields }[] = [];
  const keep = (event: string, fields: LogFields = {}): void => void lines.push({ event, fields });
  const log = { debug() {}, info() {}, warn: keep, error: keep, with: () => log, lines };
  return log;
}

/** Opens the database below the store, which must be closed. */
async function raw(directory: string, work: (database: Level<string, string>) => Promise<void>): Promise<void> {
  const database = new Level<string, string>(directory);
  await database.open();
  await work(database);
  await database.close();
}

void describe("the level store", () => {
  storeContract(
    async (clock: Clock) => {
      const directory = aDirectory();
      const store = await open(directory, { clock });
      return {
        store,
        reopen: async () => {
          await store[Symbol.asyncDispose]();
          return await open(directory, { clock });
        },
      };
    },
    () => new FakeClock(),
  );
});

test("a store is open once: neither this process nor another may open it again", async () => {
  const directory = aDirectory();
  const store = await open(directory);
  await assert.rejects(open(directory), (error: Fault) => error.kind === "busy" && error.code === "store.in-use");
  // The refused attempt has not taken the first one's lock away.
  await assert.rejects(open(directory), (error: Fault) => error.kind === "busy");
  await store[Symbol.asyncDispose]();
  await (await open(directory))[Symbol.asyncDispose]();
});

test("LevelDB's own lock refuses a process that our guard does not see", async () => {
  const directory = aDirectory();
  await (await open(directory))[Symbol.asyncDispose]();
  await raw(directory, async () => {
    await assert.rejects(open(directory), (error: Fault) => error.kind === "busy");
  });
});

test("the directory is 0700, also when it was wider before", async () => {
  const directory = aDirectory();
  await (await open(directory))[Symbol.asyncDispose]();
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  chmodSync(directory, 0o755);
  await (await open(directory))[Symbol.asyncDispose]();
  assert.equal(statSync(directory).mode & 0o777, 0o700);
});

test("no secret of a node or a command is in any file of the store, and all come back", async () => {
  const directory = aDirectory();
  const secret = "Tr0ub4dor-and-3";
  const node = aNode(1, {
    driverInfo: { ipmi_username: "admin", ipmi_password: secret, nested: { list: [{ snmp_community: secret }] } },
    instanceInfo: { image_source: "/srv/x", configdrive: { user_data: secret }, __proto__key: 1 },
    agent: { token: secret, callbackUrl: null, verifyCa: null, version: null, lastHeartbeat: null },
    operation: {
      id: "op",
      verb: "active",
      kind: "deploy",
      index: 0,
      progress: { kind: "pending" },
      startedAt: aTime,
      attempt: 1,
      kept: null,
      steps: [
        {
          interface: "deploy",
          step: "x",
          args: { chap: { username: "u", password: secret } },
          priority: 1,
          inBand: false,
          abortable: true,
        },
      ],
    },
  });
  const command = aCommand("c", { params: { driver: "ipmi", anything: { at: secret } } });
  const store = await open(directory);
  await store.commit((tx) => {
    tx.nodes.put(node);
    tx.commands.accept(command);
  });
  await store[Symbol.asyncDispose]();
  for (let round = 0; round < 2; round += 1) {
    const names = readdirSync(directory);
    assert.ok(names.some((name) => /\.(log|ldb)$/.test(name)));
    const all = Buffer.concat(names.map((name) => readFileSync(join(directory, name))));
    assert.equal(all.includes(secret), false);
    if (round === 0) assert.ok(all.includes("image_source")); // a table is compressed
    const again = await open(directory); // the second round looks at the table that opening makes of the log
    assert.deepEqual(again.nodes.get(node.uuid), node);
    assert.deepEqual(again.commands.get("c"), command);
    await again[Symbol.asyncDispose]();
  }
});

test("another key is refused, and the store opens again with its own", async () => {
  const directory = aDirectory();
  const store = await open(directory);
  await store.commit((tx) => tx.nodes.put(aNode(1, { driverInfo: { ipmi_password: "x" } })));
  await store[Symbol.asyncDispose]();
  await assert.rejects(
    open(directory, { key: new Uint8Array(32).fill(8) }),
    (error: Fault) => error.code === "store.key",
  );
  const again = await open(directory);
  assert.equal(again.nodes.get(aUuid(1))?.driverInfo["ipmi_password"], "x");
  await again[Symbol.asyncDispose]();
});

test("the key file is made once with mode 0600; one that is damaged is refused, not replaced", () => {
  const path = join(root, "keys", "store.key");
  const first = readStoreKey(path);
  assert.equal(first.length, 32);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readStoreKey(path), first);
  assert.deepEqual(readdirSync(join(root, "keys")), ["store.key"]);
  writeFileSync(path, "short\n");
  assert.throws(
    () => readStoreKey(path),
    (error: Fault) => error.code === "store.key",
  );
});

test("a systemd credential with the key comes before the file, and no file is made then", () => {
  const credentials = join(root, "credentials");
  mkdirSync(credentials);
  writeFileSync(join(credentials, "store-key"), `${"ab".repeat(32)}\n`);
  const path = join(root, "no-keys", "store.key");
  assert.deepEqual(readStoreKey(path, credentials), new Uint8Array(32).fill(0xab));
  assert.equal(existsSync(path), false);
});

const isRoot = process.getuid?.() === 0;

test("another user's store is left alone: files of root's would keep the daemon out", {
  skip: isRoot ? false : "needs root to give a directory away",
}, async () => {
  const directory = aDirectory();
  await (await open(directory))[Symbol.asyncDispose]();
  chownSync(directory, 65_534, 65_534);
  const before = readdirSync(directory);
  await assert.rejects(
    open(directory),
    (error: Fault) => error.code === "store.owner" && error.message.includes("sudo -u '#65534'"),
  );
  assert.deepEqual(readdirSync(directory), before);
});

test("a store of a newer schema is refused with a sentence that says what to do", async () => {
  const directory = aDirectory();
  const newer: Migration = { to: 2, sentence: "nothing", record: (record) => [record] };
  await (await open(directory, { migrations: [newer] }))[Symbol.asyncDispose]();
  await assert.rejects(
    open(directory),
    (error: Fault) => error.code === "store.newer" && /schema 2, this one knows 1/.test(error.message),
  );
});

const rename: Migration = {
  to: 2,
  sentence: "the driver ipmi is called ipmi2",
  record: (record) =>
    record.value["driver"] === "ipmi" ? [{ ...record, value: { ...record.value, driver: "ipmi2" } }] : [record],
};
const dropLeases: Migration = {
  to: 3,
  sentence: "leases begin anew",
  record: (record) => (record.key.startsWith("lease/") ? [] : [record]),
};

test("migrations run in order, once, over every record, with its secrets", async () => {
  const directory = aDirectory();
  const first = await open(directory);
  await first.commit((tx) => {
    tx.nodes.put(aNode(1, { driverInfo: { ipmi_password: "kept" } }));
    tx.leases.put(aLease(1));
    tx.history.append(anEntry(1));
  });
  await first[Symbol.asyncDispose]();
  for (let round = 0; round < 2; round += 1) {
    const store = await open(directory, { migrations: [rename, dropLeases] });
    assert.equal(store.nodes.get(aUuid(1))?.driver, "ipmi2");
    assert.equal(store.nodes.get(aUuid(1))?.driverInfo["ipmi_password"], "kept");
    assert.equal(store.leases.list().length, 0);
    assert.equal((await store.history.read(0, 10)).length, 1);
    await store[Symbol.asyncDispose]();
  }
  await assert.rejects(open(directory), (error: Fault) => error.code === "store.newer");
});

test("without the record of its schema a store is read by its records' own versions", async () => {
  const directory = aDirectory();
  const store = await open(directory);
  await store.commit((tx) => tx.nodes.put(aNode(1)));
  await store[Symbol.asyncDispose]();
  await raw(directory, (database) => database.del("meta/schema"));
  const log = aLog();
  const again = await open(directory, { log, migrations: [rename, dropLeases] });
  assert.equal(again.nodes.get(aUuid(1))?.driver, "ipmi2");
  assert.ok(log.lines.some((line) => line.fields["record"] === "meta/schema"));
  await again[Symbol.asyncDispose]();
});

test("a record that cannot be read is set aside and told, the others are there", async () => {
  const directory = aDirectory();
  const store = await open(directory);
  await store.commit((tx) => {
    for (let index = 1; index <= 5; index += 1) tx.nodes.put(aNode(index));
    tx.ports.put(aPort(1, aUuid(1)));
    tx.ports.put(aPort(2, aUuid(2)));
    for (let step = 1; step <= 5; step += 1) tx.history.append(anEntry(step));
  });
  await store[Symbol.asyncDispose]();
  const damaged = `node/${aUuid(2)}`;
  let before = "";
  await raw(directory, async (database) => {
    before = (await database.get(damaged)) ?? "";
    await database.put(damaged, before.replace("ipmi", "ipmo"));
    await database.put(`history/${"3".padStart(16, "0")}`, "nonsense");
    await database.put(`node/${aUuid(3)}`, (await database.get(`node/${aUuid(4)}`)) ?? ""); // a whole record under another's key
  });
  const log = aLog();
  const again = await open(directory, { log });
  assert.deepEqual(
    again.nodes.list().map((node) => node.name),
    ["node-1", "node-4", "node-5"],
  );
  assert.deepEqual(
    again.ports.list().map((port) => port.nodeUuid),
    [aUuid(1)],
  ); // a port without its node goes with it
  assert.deepEqual(
    (await again.history.read(0, 10)).map((entry) => entry.seq),
    [1, 2, 4, 5],
  );
  assert.deepEqual(
    (await again.history.read(2, 1)).map((entry) => entry.seq),
    [4],
  );
  const told = log.lines.map((line) => line.fields["record"]).filter((record) => record !== undefined);
  assert.deepEqual(told, [
    damaged,
    `node/${aUuid(3)}`,
    `port/${aPort(2, aUuid(2)).uuid}`,
    `history/${"3".padStart(16, "0")}`,
  ]);
  await again[Symbol.asyncDispose]();
  await raw(directory, async (database) => {
    assert.equal(await database.get(damaged), undefined);
    assert.equal(await database.get(`aside/${damaged}`), before.replace("ipmi", "ipmo"));
  });
  const quiet = aLog();
  await (await open(directory, { log: quiet }))[Symbol.asyncDispose]();
  assert.deepEqual(
    quiet.lines.filter((line) => line.fields["record"] !== undefined),
    [],
  );
});

test("two records that claim one name: the younger is set aside", async () => {
  const directory = aDirectory();
  const store = await open(directory);
  await store.commit((tx) => tx.nodes.put(aNode(1)));
  await store.commit((tx) => tx.nodes.put(aNode(2)));
  await store[Symbol.asyncDispose]();
  const { RecordCodec } = await import("../../../src/store/record.ts");
  const { Seal } = await import("../../../src/store/seal.ts");
  const codec = new RecordCodec(new Seal(key), 1);
  await raw(directory, (database) =>
    database.put(
      `node/${aUuid(2)}`,
      codec.encode(`node/${aUuid(2)}`, aNode(2, { name: "node-1", createdAt: "2027-01-01T00:00:00.000Z" })),
    ),
  );
  const again = await open(directory);
  assert.deepEqual(
    again.nodes.list().map((node) => node.uuid),
    [aUuid(1)],
  );
  await again[Symbol.asyncDispose]();
});

test("a sequence number is never given twice, even when the history was lost", async () => {
  const directory = aDirectory();
  const store = await open(directory);
  await store.commit((tx) => {
    for (let step = 0; step < 10; step += 1) tx.history.append(anEntry(step));
  });
  await store[Symbol.asyncDispose]();
  await raw(directory, (database) => database.clear({ gte: "history/", lt: "history0" }));
  const log = aLog();
  const again = await open(directory, { log });
  assert.equal(again.history.lastSeq, 10);
  assert.equal(await again.commit((tx) => tx.history.append(anEntry(11)).seq), 11);
  assert.deepEqual(
    (await again.history.read(0, 100)).map((entry) => entry.seq),
    [11],
  );
  await again[Symbol.asyncDispose]();
});

test("history beyond its limit goes once the site has acknowledged it, and unacknowledged at the hard limit", async () => {
  const directory = aDirectory();
  const log = aLog();
  const store = await open(directory, { log, retention: { historyEntries: 20, historyLimit: 40 } });
  const append = (count: number): Promise<void> =>
    store.commit((tx) => {
      for (let step = 0; step < count; step += 1) tx.history.append(anEntry(step));
    });
  const kept = async (): Promise<number | undefined> => (await store.history.read(0, 1))[0]?.seq;
  await append(30);
  assert.equal(await kept(), 1); // nothing was acknowledged
  await store.commit((tx) => tx.outbox.acknowledge(5));
  assert.equal(await kept(), 6);
  await store.commit((tx) => tx.outbox.acknowledge(30));
  assert.equal(await kept(), 11);
  assert.equal(log.lines.length, 0);
  await append(30); // 60 entries, 30 of them not acknowledged
  assert.equal(await kept(), 31);
  await append(20);
  assert.equal(await kept(), 41);
  assert.deepEqual(
    log.lines.map((line) => [line.event, line.fields["from"], line.fields["to"]]),
    [["store.trimmed", 31, 40]],
  );
  await store[Symbol.asyncDispose]();
  const again = await open(directory);
  assert.equal((await again.history.read(0, 1))[0]?.seq, 41);
  assert.equal(again.history.lastSeq, 80);
  await again[Symbol.asyncDispose]();
});

test("answered commands go beyond their number and after their time; what is unanswered or undelivered stays", async () => {
  const clock = new FakeClock();
  const store = await open(aDirectory(), { clock, retention: { commands: 10, commandAge: 1000 * 60 } });
  const reply = { topic: "t", correlation: null };
  const at = (): string => clock.wall().toISOString();
  await store.commit((tx) => {
    tx.commands.accept(aCommand("unanswered", { receivedAt: at() }));
    tx.commands.accept(aCommand("undelivered", { receivedAt: at(), reply }));
    tx.commands.answer("undelivered", { ok: true, result: null });
  });
  for (let index = 0; index < 20; index += 1) {
    await store.commit((tx) => {
      tx.commands.accept(aCommand(`c${index}`, { receivedAt: at() }));
      tx.commands.answer(`c${index}`, { ok: true, result: null });
    });
  }
  await store.commit((tx) => tx.commands.accept(aCommand("last", { receivedAt: at() })));
  assert.equal(store.commands.get("c5"), undefined);
  assert.ok(store.commands.get("c19"));
  await clock.advance(1000 * 61);
  await store.commit((tx) => tx.commands.answer("last", { ok: true, result: null }));
  assert.equal(store.commands.get("c19"), undefined);
  assert.ok(store.commands.get("unanswered") && store.commands.get("undelivered"));
  await store[Symbol.asyncDispose]();
});
