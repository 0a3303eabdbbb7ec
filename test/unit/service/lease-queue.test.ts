import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Transaction } from "../../../src/domain/store.ts";
import { LeaseQueue } from "../../../src/service/lease-queue.ts";
import { errorLog } from "../store/crashed-store.ts";

/** A queue of numbers on a disk that each test lets write, or not. */
function openQueue(told: (message: number) => void = () => {}) {
  const commits: { messages: number; end: (error?: Error) => void }[] = [];
  const log = errorLog();
  const counts = { failed: 0 };
  const order: string[] = [];
  const queue = new LeaseQueue<number, string>({
    store: {
      commit: async (work) => {
        const decided = work({} as unknown as Transaction);
        await new Promise<void>((resolve, reject) => {
          const messages = Array.isArray(decided) ? decided.length : 0;
          commits.push({ messages, end: (error) => (error === undefined ? resolve() : reject(error)) });
        });
        return decided;
      },
    },
    log,
    counts,
    decide: (message) => `lease ${message}`,
    decided: (message, decision) => {
      told(message);
      order.push(decision);
    },
    fieldsOf: (message, reason) => ({ mac: String(message), reason }),
  });
  return { queue, commits, log, counts, order };
}

test("an answer is told only once its lease is on the disk; what comes meanwhile is the next group", async () => {
  const { queue, commits, order } = openQueue();
  for (const message of [1, 2]) assert.equal(queue.add(message), true);
  await turn();
  for (const message of [3, 4, 5]) queue.add(message);
  await turn();
  assert.deepEqual([commits.length, order], [1, []]);
  commits[0]?.end();
  await turn();
  assert.deepEqual(order, ["lease 1", "lease 2"]);
  commits[1]?.end();
  await queue[Symbol.asyncDispose]();
  assert.equal(order.length, 5);
  assert.deepEqual(
    commits.map(({ messages }) => messages),
    [2, 3],
  );
});

test("an answer that cannot be made is counted and logged, and keeps no other of its group back", async () => {
  const { queue, commits, log, counts, order } = openQueue((message) => {
    if (message === 2) throw new Error("no room for the options");
  });
  for (const message of [1, 2, 3]) queue.add(message);
  await turn();
  commits[0]?.end();
  await queue[Symbol.asyncDispose]();
  assert.deepEqual(order, ["lease 1", "lease 3"]);
  assert.equal(counts.failed, 1);
  assert.deepEqual(log.errors, ['dhcp.failed {"mac":"2","reason":"an answer could not be made"}']);
});

test("a disk that fails loses the group that waited for it, not the next one", async () => {
  const { queue, commits, log, counts, order } = openQueue();
  for (const message of [1, 2]) queue.add(message);
  await turn();
  queue.add(3);
  commits[0]?.end(new Error("the disk is full"));
  await turn();
  commits[1]?.end();
  await queue[Symbol.asyncDispose]();
  assert.deepEqual(order, ["lease 3"]);
  assert.equal(counts.failed, 2);
  assert.match(log.errors.join(), /^dhcp.failed .*the disk is full.*"messages":2}$/);
});

test("more than the disk takes is refused, and taken again when there is room", async () => {
  const { queue, commits, order } = openQueue();
  const most = 2048;
  for (let message = 0; message < most; message += 1) assert.equal(queue.add(message), true);
  assert.equal(queue.add(most), false);
  await turn();
  assert.equal(queue.add(most), true);
  commits[0]?.end();
  await turn();
  commits[1]?.end();
  await queue[Symbol.asyncDispose]();
  assert.equal(order.length, most + 1);
});
