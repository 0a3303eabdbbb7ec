import assert from "node:assert/strict";
import { test } from "node:test";
import { Turnstile } from "../../../src/mqtt/turnstile.ts";

interface Work {
  readonly begun: string[];
  enter(name: string, keys: readonly string[]): void;
  end(name: string): Promise<void>;
}

function bench(turnstile: Turnstile): Work {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  return {
    begun,
    enter: (name, keys) =>
      turnstile.enter(new Set(keys), async () => {
        begun.push(name);
        await new Promise<void>((resolve) => ends.set(name, resolve));
      }),
    end: async (name) => {
      ends.get(name)?.();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

test("work waits for everything earlier that shares a key with it, and for nothing else", async () => {
  const turnstile = new Turnstile();
  const work = bench(turnstile);
  work.enter("a1", ["a"]);
  work.enter("a2", ["a"]);
  work.enter("b1", ["b"]);
  work.enter("ab", ["a", "b"]);
  work.enter("b2", ["b"]);
  work.enter("free", []);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(work.begun.toSorted(), ["a1", "b1", "free"]);
  await work.end("b1");
  assert.deepEqual(work.begun.toSorted(), ["a1", "b1", "free"]);
  await work.end("a1");
  assert.deepEqual(work.begun.slice(3), ["a2"]);
  await work.end("a2");
  assert.deepEqual(work.begun.slice(3), ["a2", "ab"]);
  await work.end("ab");
  assert.deepEqual(work.begun.slice(3), ["a2", "ab", "b2"]);
  assert.equal(turnstile.running, 2);
});

test("idle resolves when the last work has ended", async () => {
  const turnstile = new Turnstile();
  await turnstile.idle();
  const work = bench(turnstile);
  work.enter("one", ["k"]);
  work.enter("two", ["k"]);
  let idle = false;
  const waiting = turnstile.idle().then(() => (idle = true));
  await work.end("one");
  await new Promise((resolve) => setImmediate(resolve));
  await work.end("one");
  assert.equal(idle, false);
  await work.end("two");
  await waiting;
  assert.equal(turnstile.running, 0);
});
