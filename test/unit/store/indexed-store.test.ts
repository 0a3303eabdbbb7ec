import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { FakeClock } from "../../../src/core/clock.ts";
import { Fault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import type { Disk } from "../../../src/store/disk.ts";
import { IndexedStore } from "../../../src/store/indexed-store.ts";
import { defaultRetention } from "../../../src/store/retention.ts";
import { type Changes, State } from "../../../src/store/state.ts";
import { aNode, anEntry, aUuid } from "../../conformance/store-contract.ts";

interface Write {
  readonly changes: Changes;
  readonly sync: boolean;
  finish(fault?: Fault): void;
}

/** A disk whose writes end when the test says so. */
class GatedDisk implements Disk {
  readonly writes: Write[] = [];
  closed = false;

  write(changes: Changes, _before: State, sync: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (fault?: Fault): void => (fault === undefined ? resolve() : reject(fault));
      this.writes.push({ changes, sync, finish });
    });
  }

  /** The write that is under way, once it is. */
  async next(count: number): Promise<Write> {
    for (let turns = 0; turns < 10; turns += 1) await turn();
    assert.equal(this.writes.length, count);
    return this.writes[count - 1] ?? assert.fail("no write");
  }

  readHistory(): Promise<readonly never[]> {
    return Promise.resolve([]);
  }

  readInventory(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

function open(): { readonly disk: GatedDisk; readonly store: IndexedStore } {
  const disk = new GatedDisk();
  const parts = { state: new State(), disk, clock: new FakeClock(), log: silentLog, retention: defaultRetention };
  return { disk, store: new IndexedStore(parts) };
}

const put = (store: IndexedStore, index: number, durable?: boolean): Promise<void> =>
  store.commit((tx) => tx.nodes.put(aNode(index)), durable === undefined ? {} : { durable });

test("commits of one turn, and all that come while a batch is under way, go out as one synchronised batch each", async () => {
  const { disk, store } = open();
  const commits = [put(store, 1), put(store, 2)];
  const first = await disk.next(1);
  assert.equal(first.changes.nodes.size, 2);
  assert.equal(first.sync, true);
  for (let index = 3; index < 100; index += 1) commits.push(put(store, index));
  await disk.next(1); // nothing is sent while the first is under way
  assert.equal(store.nodes.list().length, 0);
  first.finish();
  const second = await disk.next(2);
  assert.equal(second.changes.nodes.size, 97);
  assert.equal(store.nodes.list().length, 2);
  second.finish();
  await Promise.all(commits);
  assert.equal(disk.writes.length, 2);
});

test("what need not be durable is not synchronised alone, but goes along with what must be", async () => {
  const { disk, store } = open();
  const alone = put(store, 1, false);
  const first = await disk.next(1);
  assert.equal(first.sync, false);
  first.finish();
  await alone;
  const both = [put(store, 2, false), put(store, 3, true), put(store, 4, false)];
  const second = await disk.next(2);
  assert.equal(second.sync, true);
  second.finish();
  await Promise.all(both);
  const history = store.commit((tx) => tx.history.append(anEntry(1)), { durable: false });
  const third = await disk.next(3);
  assert.equal(third.sync, true); // a number that was shown must never be given again
  third.finish();
  await history;
  const reading = store.commit((tx) => tx.nodes.list().length);
  assert.equal(await reading, 4);
  assert.equal(disk.writes.length, 3); // what writes nothing needs no disk
});

test("a batch that fails rejects all that was in it with a storage fault and changes no memory; the next one is as if it had not been", async () => {
  const { disk, store } = open();
  const failing = [put(store, 1), put(store, 2), store.commit((tx) => tx.history.append(anEntry(1)))];
  const rejections = Promise.all(
    failing.map((commit) =>
      assert.rejects(commit, (error: Fault) => error.kind === "storage" && /no room/.test(error.message)),
    ),
  );
  (await disk.next(1)).finish(new Fault("storage", "test", "no room"));
  await rejections;
  assert.equal(store.nodes.list().length, 0);
  assert.equal(store.history.lastSeq, 0);
  const next = store.commit((tx) => {
    assert.equal(tx.nodes.get(aUuid(1)), undefined);
    return tx.history.append(anEntry(2)).seq;
  });
  (await disk.next(2)).finish();
  assert.equal(await next, 1);
});

test("a failure of another kind than storage is told as one, with its cause", async () => {
  const { disk, store } = open();
  const commit = put(store, 1);
  const rejection = assert.rejects(
    commit,
    (error: Fault) => error.kind === "storage" && error.code === "store.failed" && error.cause !== undefined,
  );
  (await disk.next(1)).finish(new Fault("internal", "x", "boom"));
  await rejection;
});

test("waiters are woken by entries on disk only, each once it is past its number", async () => {
  const { disk, store } = open();
  const { signal } = new AbortController();
  const woken: number[] = [];
  for (const after of [0, 1, 5]) void store.history.waitAfter(after, signal).then(() => woken.push(after));
  const first = store.commit((tx) => tx.history.append(anEntry(1)));
  const write = await disk.next(1);
  assert.deepEqual(woken, []);
  write.finish();
  await first;
  await turn();
  assert.deepEqual(woken, [0]);
  const more = store.commit((tx) => {
    for (let step = 0; step < 3; step += 1) tx.history.append(anEntry(step));
  });
  (await disk.next(2)).finish();
  await more;
  await turn();
  assert.deepEqual(woken, [0, 1]);
});

test("closing waits for the batch under way and for those that queue behind it", async () => {
  const { disk, store } = open();
  const commits = [put(store, 1)];
  const first = await disk.next(1);
  commits.push(put(store, 2));
  const closing = store[Symbol.asyncDispose]();
  await turn();
  assert.equal(disk.closed, false);
  first.finish();
  (await disk.next(2)).finish();
  await Promise.all([...commits, closing]);
  assert.equal(disk.closed, true);
});
